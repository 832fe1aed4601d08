// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/container/guest_process.h"

#include <time.h>

#include <algorithm>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/schema/agent.ttrpc.h"
#include "virtcontainers/container/guest_container.h"

namespace kata::virtcontainers {
namespace {

constexpr std::chrono::nanoseconds kNoTimeout{0};  // a process may run for years
constexpr uint32_t kExitStatusMax = 255;

int64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * int64_t{1000000000} + now.tv_nsec;
}

// A stream that is being opened, for one who waits for it for a while only.
struct Opening {
  explicit Opening(const asio::any_io_executor& executor) : outcome(executor) {}
  Outcome outcome;
  std::shared_ptr<StdioStream> stream;
};

Co<absl::Status> OpenInGuest(std::shared_ptr<ttrpc::Connection> connection, agent::v1::StdioMessage first,
                             std::shared_ptr<Opening> opening) {
  agent::v1::AgentClient client(connection);
  auto stream = co_await client.Stdio();
  absl::Status status = stream.status();
  if (status.ok()) status = co_await (*stream)->Send(std::move(first));
  opening->outcome.status = status;
  if (status.ok() && !opening->outcome.is_given_up) opening->stream = *std::move(stream);
  opening->outcome.known.Set();
  co_return absl::OkStatus();
}

}  // namespace

GuestProcess::GuestProcess(asio::any_io_executor executor, std::shared_ptr<ttrpc::Connection> connection,
                           std::string container_id, std::string exec_id)
    : executor_(executor),
      connection_(std::move(connection)),
      container_id_(std::move(container_id)),
      exec_id_(std::move(exec_id)),
      exited_(executor) {}

Co<ExitStatus> GuestProcess::WaitExit() {
  auto self = shared_from_this();
  co_await exited_.Wait();
  co_return *exit_;
}

Co<bool> GuestProcess::WaitExitFor(std::chrono::nanoseconds timeout) {
  auto self = shared_from_this();
  co_return co_await exited_.WaitFor(timeout);
}

Co<absl::StatusOr<std::shared_ptr<StdioStream>>> GuestProcess::OpenStdio() {
  auto self = shared_from_this();
  if (is_stdio_open_) co_return absl::FailedPreconditionError("opening standard streams: they are open already");
  is_stdio_open_ = true;
  agent::v1::StdioMessage message;
  message.mutable_open()->set_container_id(container_id_);
  message.mutable_open()->set_exec_id(exec_id_);
  // A guest that takes nothing any more leaves no room to send.
  auto opening = std::make_shared<Opening>(executor_);
  Spawn(executor_, "opening standard streams", OpenInGuest(connection_, std::move(message), opening));
  co_await opening->outcome.known.WaitFor(kAgentCallTimeout);
  opening->outcome.is_given_up = true;
  if (!opening->outcome.known.is_set())
    co_return absl::DeadlineExceededError("opening standard streams: the guest does not answer");
  if (!opening->outcome.status.ok()) co_return opening->outcome.status;
  co_return std::move(opening->stream);
}

void GuestProcess::Watch() { Spawn(executor_, "waiting for a process", WatchExit(shared_from_this())); }

void GuestProcess::SetRunning() {
  if (state_ == ProcessState::kCreated) state_ = ProcessState::kRunning;
}

void GuestProcess::SetStopped(ExitStatus exit) {
  if (state_ == ProcessState::kStopped) return;
  state_ = ProcessState::kStopped;
  exit.status = std::min(exit.status, kExitStatusMax);
  exit_ = exit;
  exited_.Set();
}

void GuestProcess::SetStoppedNow(uint32_t status) {
  ExitStatus exit;
  exit.status = status;
  exit.exited_at_ns = NowNs();
  SetStopped(exit);
}

Co<absl::Status> GuestProcess::WatchExit(std::shared_ptr<GuestProcess> self) {
  agent::v1::AgentClient client(self->connection_);
  agent::v1::ProcessId request;
  request.set_container_id(self->container_id_);
  request.set_exec_id(self->exec_id_);
  auto response = co_await client.WaitProcess(std::move(request), kNoTimeout);
  if (!response.ok()) {
    // The agent or its machine is gone, and the process with it.
    if (!absl::IsUnavailable(response.status()) && !absl::IsCancelled(response.status())) {
      log::Warn("waiting for process \"{}\" of container \"{}\": {}", self->exec_id_, self->container_id_,
                response.status().message());
    }
    self->SetStoppedNow(kVmDiedStatus);
    co_return absl::OkStatus();
  }
  ExitStatus exit;
  exit.status = response->exit_status();
  // The host's clock counts: what the guest says of time is not to be trusted.
  exit.exited_at_ns = NowNs();
  if (self->on_oom_kills_) self->on_oom_kills_(response->oom_kills());
  self->SetStopped(exit);
  co_return absl::OkStatus();
}

}  // namespace kata::virtcontainers
