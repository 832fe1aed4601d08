// SPDX-License-Identifier: Apache-2.0
// The Task API over a fake sandbox, with a bundle on disk and the events that it publishes.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include "proto/base/fd.h"
#include "proto/schema/events.pb.h"
#include "proto/schema/runtime_options.pb.h"
#include "shimv2/task/task_service.h"
#include "shimv2/test/fake_sandbox.h"

namespace kata::shimv2 {

namespace task = containerd::task;

class RecordingPublisher final : public EventPublisher {
 public:
  void Publish(std::string topic, std::string, std::string payload) override {
    topics.push_back(topic);
    payloads.push_back(std::move(payload));
    if (on_publish) on_publish(topic);
  }
  Co<void> Flush(std::chrono::nanoseconds) override { co_return; }

  std::vector<std::string> topics;
  std::vector<std::string> payloads;
  std::function<void(const std::string&)> on_publish;
};

// Keeps the answer of a call where a test can look.
template <typename T>
Co<absl::Status> StoreAnswer(Co<absl::StatusOr<T>> call, std::shared_ptr<std::optional<absl::StatusOr<T>>> out) {
  auto answer = co_await std::move(call);
  out->emplace(std::move(answer));
  co_return absl::OkStatus();
}

class TaskServiceTest : public testing::Test {
 protected:
  TaskServiceTest() {
    ::signal(SIGPIPE, SIG_IGN);
    char name[] = "/tmp/task-api-XXXXXX";
    directory_ = ::mkdtemp(name);
    EXPECT_TRUE(WriteFileAtomically(directory_ + "/config.toml", "", 0600).ok());
    runtimeoptions::v1::Options options;
    options.set_config_path(directory_ + "/config.toml");
    PodOptions pod;
    pod.socket_path = "/run/containerd/s/0123456789abcdef";
    pod.start_options.set_type_url("runtimeoptions.v1.Options");
    pod.start_options.set_value(options.SerializeAsString());
    publisher_ = std::make_shared<RecordingPublisher>();
    SandboxMaker make = [this](vc::SandboxOptions sandbox) {
      sandbox_ = std::make_shared<FakeSandbox>(io_.get_executor(), std::move(sandbox));
      if (boots_slowly_) sandbox_->boot = std::make_shared<Latch>(io_.get_executor());
      if (ends_slowly_) sandbox_->end = std::make_shared<Latch>(io_.get_executor());
      return sandbox_;
    };
    pod_ = std::make_shared<PodSandbox>(io_.get_executor(), pool_, std::move(pod), std::move(make));
    tasks_ = std::make_shared<TaskService>(io_.get_executor(), pool_, publisher_, pod_, "ns");
  }
  ~TaskServiceTest() override {
    if (sandbox_) {
      for (auto& [id, container] : sandbox_->containers) container->StopAll(137);
    }
    io_.restart();
    io_.run_for(std::chrono::milliseconds(20));
    std::filesystem::remove_all(directory_);
  }

  std::string MakeBundle(const std::string& id, const std::string& annotations = "") {
    const std::string bundle = directory_ + "/" + id;
    std::filesystem::create_directories(bundle);
    const std::string spec = R"({"process":{},"root":{"path":"rootfs"},"annotations":{)" + annotations + "}}";
    EXPECT_TRUE(WriteFileAtomically(bundle + "/config.json", spec, 0600).ok());
    return bundle;
  }
  task::CreateTaskRequest CreateRequest(const std::string& id, const std::string& annotations = "") {
    task::CreateTaskRequest request;
    request.set_id(id);
    request.set_bundle(MakeBundle(id, annotations));
    return request;
  }

  template <typename Condition>
  bool RunUntil(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition() && std::chrono::steady_clock::now() < end) {
      io_.restart();
      io_.run_one_for(std::chrono::milliseconds(20));
    }
    return condition();
  }
  template <typename T>
  std::shared_ptr<std::optional<absl::StatusOr<T>>> Begin(Co<absl::StatusOr<T>> call) {
    auto out = std::make_shared<std::optional<absl::StatusOr<T>>>();
    Spawn(io_.get_executor(), "calling", StoreAnswer<T>(std::move(call), out));
    return out;
  }
  template <typename T>
  absl::StatusOr<T> Call(Co<absl::StatusOr<T>> call) {
    auto out = Begin<T>(std::move(call));
    if (!RunUntil([out] { return out->has_value(); })) return absl::DeadlineExceededError("no answer");
    return std::move(**out);
  }
  // Requests with an id and perhaps an exec's, which most are.
  template <typename Request>
  static Request Of(const std::string& id, const std::string& exec_id) {
    Request request;
    request.set_id(id);
    request.set_exec_id(exec_id);
    return request;
  }
  template <typename Request>
  static Request Of(const std::string& id) {
    Request request;
    request.set_id(id);
    return request;
  }

  absl::Status Create(const std::string& id) { return Call(tasks_->Create({}, CreateRequest(id))).status(); }
  absl::Status Start(const std::string& id, const std::string& exec_id = "") {
    return Call(tasks_->Start({}, Of<task::StartRequest>(id, exec_id))).status();
  }
  absl::Status Exec(const std::string& id, const std::string& exec_id) {
    task::ExecProcessRequest request = Of<task::ExecProcessRequest>(id, exec_id);
    request.mutable_spec()->set_value("{}");
    return Call(tasks_->Exec({}, request)).status();
  }
  // A new container runs with an exec whose output goes to a fifo: its reading end, which does not block.
  UniqueFd StartExecWithOutput(const std::string& id, const std::string& exec_id) {
    EXPECT_TRUE(Create(id).ok());
    EXPECT_TRUE(Start(id).ok());
    task::ExecProcessRequest request = Of<task::ExecProcessRequest>(id, exec_id);
    request.set_stdout(directory_ + "/out");
    EXPECT_EQ(::mkfifo(request.stdout().c_str(), 0600), 0);
    UniqueFd client(::open(request.stdout().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    EXPECT_TRUE(Call(tasks_->Exec({}, request)).ok());
    EXPECT_TRUE(Start(id, exec_id).ok());
    return client;
  }
  absl::Status Delete(const std::string& id, const std::string& exec_id = "") {
    return Call(tasks_->Delete({}, Of<task::DeleteRequest>(id, exec_id))).status();
  }
  absl::Status Kill(const std::string& id, uint32_t signal) {
    task::KillRequest request = Of<task::KillRequest>(id);
    request.set_signal(signal);
    return Call(tasks_->Kill({}, request)).status();
  }
  task::StateResponse State(const std::string& id, const std::string& exec_id = "") {
    auto state = Call(tasks_->State({}, Of<task::StateRequest>(id, exec_id)));
    EXPECT_TRUE(state.ok()) << state.status();
    return state.ok() ? *state : task::StateResponse();
  }
  // Counts the shutdowns and stops that have returned.
  std::shared_ptr<int> CountReturned(Co<void> call) {
    auto count = std::make_shared<int>(0);
    Spawn(io_.get_executor(), "calling", [](Co<void> wait, std::shared_ptr<int> returned) -> Co<absl::Status> {
      co_await std::move(wait);
      ++*returned;
      co_return absl::OkStatus();
    }(std::move(call), count));
    return count;
  }
  std::shared_ptr<FakeContainer> Fake(const std::string& id) { return sandbox_->containers.at(id); }
  bool HasEvent(const std::string& topic) const {
    for (const std::string& seen : publisher_->topics) {
      if (seen == topic) return true;
    }
    return false;
  }

  asio::io_context io_{1};
  asio::thread_pool pool_{1};
  std::string directory_;
  bool boots_slowly_ = false;
  bool ends_slowly_ = false;
  std::shared_ptr<RecordingPublisher> publisher_;
  std::shared_ptr<FakeSandbox> sandbox_;
  std::shared_ptr<PodSandbox> pod_;
  std::shared_ptr<TaskService> tasks_;
};

}  // namespace kata::shimv2
