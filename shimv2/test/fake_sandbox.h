// SPDX-License-Identifier: Apache-2.0
// A sandbox without a machine, for tests of the Task API: does what virtcontainers/sandbox/vm_sandbox.h says, at once,
// and notes it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proto/schema/agent.pb.h"
#include "shimv2/test/guest_end.h"
#include "virtcontainers/sandbox.h"

namespace kata::shimv2 {

namespace vc = virtcontainers;

class FakeProcess final : public vc::Process {
 public:
  FakeProcess(asio::any_io_executor executor, std::string id)
      : guest(std::make_shared<GuestEnd>(executor)), id_(std::move(id)), exited_(executor) {}

  const std::string& id() const override { return id_; }
  vc::ProcessState state() const override { return state_; }
  const std::optional<vc::ExitStatus>& exit() const override { return exit_; }
  Co<vc::ExitStatus> WaitExit() override {
    co_await exited_.Wait();
    co_return *exit_;
  }
  Co<absl::StatusOr<std::shared_ptr<vc::StdioStream>>> OpenStdio() override {
    std::shared_ptr<GuestEnd> end = guest;
    auto stream = co_await end->Open();
    if (!stream.ok()) co_return stream.status();
    co_return std::make_shared<vc::StdioStream>(*std::move(stream));
  }
  void Run() {
    if (state_ == vc::ProcessState::kCreated) state_ = vc::ProcessState::kRunning;
  }
  void Stop(uint32_t status) {
    if (state_ == vc::ProcessState::kStopped) return;
    state_ = vc::ProcessState::kStopped;
    exit_ = vc::ExitStatus{status, 1234567890123};
    guest->End();
    exited_.Set();
  }

  std::shared_ptr<GuestEnd> guest;

 private:
  std::string id_;
  vc::ProcessState state_ = vc::ProcessState::kCreated;
  std::optional<vc::ExitStatus> exit_;
  Latch exited_;
};

class FakeContainer final : public vc::Container {
 public:
  FakeContainer(asio::any_io_executor executor, std::string id)
      : executor_(executor), id_(std::move(id)), fake_init(std::make_shared<FakeProcess>(executor, "")) {}

  const std::string& id() const override { return id_; }
  std::shared_ptr<vc::Process> init() const override { return fake_init; }
  std::shared_ptr<vc::Process> FindExec(const std::string& exec_id) const override {
    auto at = execs.find(exec_id);
    return at != execs.end() ? at->second : nullptr;
  }
  std::vector<std::string> ExecIds() const override { return {}; }

  Co<absl::Status> Start() override {
    calls.push_back("start");
    fake_init->Run();
    if (init_ends_in_start) fake_init->Stop(7);
    if (gate) co_await gate->Wait();
    co_return absl::OkStatus();
  }
  Co<absl::Status> Pause() override { co_return SetPaused(true); }
  Co<absl::Status> Resume() override { co_return SetPaused(false); }
  bool is_paused() const override { return paused; }
  Co<absl::Status> Update(std::string resources_json) override {
    calls.push_back("update " + resources_json);
    co_return absl::OkStatus();
  }
  Co<absl::StatusOr<agent::v1::StatsContainerResponse>> Stats() override {
    if (fake_init->state() == vc::ProcessState::kStopped) co_return absl::NotFoundError("it has stopped");
    co_return stats;
  }
  void OnOom(std::function<void()> handler) override { on_oom = std::move(handler); }
  absl::StatusOr<std::shared_ptr<vc::Process>> AddExec(vc::ExecOptions options) override {
    if (execs.contains(options.exec_id)) return absl::AlreadyExistsError("it exists already");
    if (fake_init->state() == vc::ProcessState::kStopped) return absl::FailedPreconditionError("it has stopped");
    auto process = std::make_shared<FakeProcess>(executor_, options.exec_id);
    execs[options.exec_id] = process;
    return std::shared_ptr<vc::Process>(process);
  }
  Co<absl::Status> StartExec(std::string exec_id) override {
    calls.push_back("start " + exec_id);
    if (gate) co_await gate->Wait();
    if (!start_exec_status.ok()) {
      execs[exec_id]->Stop(255);
      co_return start_exec_status;
    }
    execs[exec_id]->Run();
    co_return absl::OkStatus();
  }
  Co<absl::Status> Kill(std::string exec_id, uint32_t signal, bool) override {
    std::shared_ptr<FakeProcess> process = exec_id.empty() ? fake_init : execs[exec_id];
    if (process->state() == vc::ProcessState::kStopped) co_return absl::NotFoundError("process already finished");
    calls.push_back("kill " + exec_id);
    if (gate) co_await gate->Wait();
    process->Stop(128 + signal);
    co_return absl::OkStatus();
  }
  Co<absl::Status> ResizeTerminal(std::string exec_id, uint32_t width, uint32_t height) override {
    calls.push_back("resize " + exec_id + " " + std::to_string(width) + "x" + std::to_string(height));
    co_return absl::OkStatus();
  }
  Co<absl::Status> DeleteExec(std::string exec_id) override {
    auto at = execs.find(exec_id);
    if (at == execs.end()) co_return absl::NotFoundError("it is not here");
    at->second->Stop(255);
    execs.erase(at);
    co_return absl::OkStatus();
  }
  // Init first: the order that is wrong for the events.
  void StopAll(uint32_t status) {
    fake_init->Stop(status);
    for (auto& [id, process] : execs) process->Stop(status);
  }

 private:
  absl::Status SetPaused(bool to) {
    if (fake_init->state() != vc::ProcessState::kRunning) return absl::FailedPreconditionError("it is not running");
    if (paused == to) return absl::FailedPreconditionError("it is so already");
    paused = to;
    return absl::OkStatus();
  }

  asio::any_io_executor executor_;
  std::string id_;

 public:
  std::shared_ptr<FakeProcess> fake_init;
  std::map<std::string, std::shared_ptr<FakeProcess>> execs;
  std::vector<std::string> calls;
  std::shared_ptr<Latch> gate;  // starts and signals wait for it
  absl::Status start_exec_status;
  bool init_ends_in_start = false;
  bool paused = false;
  agent::v1::StatsContainerResponse stats;
  std::function<void()> on_oom;
};

class FakeSandbox final : public vc::Sandbox {
 public:
  FakeSandbox(asio::any_io_executor executor, vc::SandboxOptions sandbox_options)
      : options(std::move(sandbox_options)), executor_(executor), machine_ended_(executor) {}

  Co<absl::Status> Start() override {
    if (boot) co_await boot->Wait();
    if (is_stopped) co_return absl::UnavailableError("the sandbox was stopped");
    co_return start_status;
  }
  Co<absl::StatusOr<std::shared_ptr<vc::Container>>> CreateContainer(vc::ContainerOptions container) override {
    if (boot) co_await boot->Wait();
    if (is_stopped) co_return absl::UnavailableError("the sandbox was stopped");
    if (!create_status.ok()) co_return create_status;
    last_created = container;
    auto made = std::make_shared<FakeContainer>(executor_, container.id);
    containers[container.id] = made;
    co_return std::shared_ptr<vc::Container>(made);
  }
  Co<absl::Status> DeleteContainer(std::string id) override {
    if (!containers.contains(id)) co_return absl::NotFoundError("it is not here");
    containers[id]->StopAll(137);
    containers.erase(id);
    co_return absl::OkStatus();
  }
  std::shared_ptr<vc::Container> FindContainer(const std::string& id) const override {
    auto at = containers.find(id);
    return at != containers.end() ? at->second : nullptr;
  }
  size_t ContainerCount() const override { return containers.size(); }
  pid_t VmPid() const override { return vm_pid; }
  Co<absl::Status> Stop() override {
    is_stopped = true;
    if (boot) boot->Set();
    if (end) co_await end->Wait();
    Die();
    containers.clear();
    co_return absl::OkStatus();
  }
  Co<void> WaitStopped() override { co_await machine_ended_.Wait(); }
  Co<absl::StatusOr<agent::v1::StatsContainerResponse>> Stats() override { co_return stats; }
  std::map<std::string, std::string> Facts() const override { return {{"hypervisor", "fake"}}; }
  std::string ConsoleTail(size_t size_max) const override { return console.substr(0, size_max); }
  // The machine ends.
  void Die() {
    for (auto& [id, container] : containers) container->StopAll(137);
    vm_pid = 0;
    machine_ended_.Set();
  }

  vc::SandboxOptions options;
  std::map<std::string, std::shared_ptr<FakeContainer>> containers;
  vc::ContainerOptions last_created;
  absl::Status create_status;
  absl::Status start_status;
  agent::v1::StatsContainerResponse stats;
  pid_t vm_pid = 4711;
  std::string console = "Linux says\n";
  bool is_stopped = false;
  std::shared_ptr<Latch> boot;  // a start and a create wait for it
  std::shared_ptr<Latch> end;   // a stop waits for it

 private:
  asio::any_io_executor executor_;
  Latch machine_ended_;
};

}  // namespace kata::shimv2
