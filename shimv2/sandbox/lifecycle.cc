// SPDX-License-Identifier: Apache-2.0
// The part of SandboxService that changes something.
#include <chrono>
#include <utility>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "shimv2/sandbox/pod_config.h"
#include "shimv2/sandbox/pod_files.h"
#include "shimv2/sandbox/sandbox_service.h"
#include "shimv2/task/records.h"

namespace kata::shimv2 {
namespace {

namespace api = containerd::runtime::sandbox::v1;

constexpr char kEtcDirectory[] = "/etc";  // in the bundle

int64_t Now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// A bundle of CRI has no document.
absl::StatusOr<PodDescription> DescribeBundleOf(const std::string& bundle, const std::string& sandbox_id) {
  auto info = ReadBundle(bundle, sandbox_id);
  if (absl::IsNotFound(info.status())) return PodDescription();
  if (!info.ok()) return info.status();
  PodDescription out = DescribePod(*info, wire::Any());
  out.hostname = info->hostname;
  return out;
}

absl::StatusOr<PodDescription> Prepare(const api::CreateSandboxRequest& request, const std::string& host_etc) {
  const std::string& bundle = request.bundle_path();
  if (bundle.empty() || bundle[0] != '/')
    return absl::InvalidArgumentError(absl::StrCat("bundle_path \"", bundle, "\" is not an absolute path"));
  ASSIGN_OR_RETURN(const runtime::v1::PodSandboxConfig config, ParsePodConfig(request.options()));
  ASSIGN_OR_RETURN(PodDescription base, DescribeBundleOf(bundle, request.sandbox_id()));
  PodDescription out = DescribePod(std::move(base), request, config, absl::StrCat(bundle, kEtcDirectory));
  if (out.hostname.empty()) out.hostname = HostName();
  const absl::Status written = WritePodFiles(config, out.hostname, host_etc, out.settings->etc_directory);
  if (!written.ok()) return Annotate(written, "writing the pod's files");
  return out;
}

}  // namespace

SandboxService::SandboxService(asio::any_io_executor executor, asio::thread_pool& pool, std::shared_ptr<PodSandbox> pod,
                               SandboxServiceOptions options)
    : executor_(executor), pool_(pool), pod_(std::move(pod)), options_(std::move(options)), exited_(executor) {}

absl::Status SandboxService::Find(const std::string& id) const {
  if (id == options_.sandbox_id && state_ != State::kNone && state_ != State::kCreating) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("sandbox \"", id, "\" is not here"));
}

SandboxService::Reply<wire::Empty> SandboxService::CreateSandbox(ttrpc::CallContext,
                                                                 api::CreateSandboxRequest request) {
  auto self = shared_from_this();
  const std::string what = absl::StrCat("creating sandbox \"", request.sandbox_id(), "\"");
  if (request.sandbox_id() != options_.sandbox_id) {
    co_return absl::NotFoundError(absl::StrCat(what, ": this shim was started for \"", options_.sandbox_id, "\""));
  }
  if (state_ != State::kNone) co_return absl::AlreadyExistsError(absl::StrCat(what, ": it exists already"));
  state_ = State::kCreating;
  created_at_ns_ = Now();
  absl::Status created = co_await Describe(std::move(request));
  if (created.ok() && state_ != State::kCreating) created = absl::CancelledError("the shim is shutting down");
  if (created.ok()) created = pod_->Keep();
  if (state_ == State::kCreating) state_ = created.ok() ? State::kCreated : State::kNone;
  if (!created.ok()) co_return Annotate(created, what);
  co_return wire::Empty();
}

Co<absl::Status> SandboxService::Describe(api::CreateSandboxRequest request) {
  if (request.rootfs_size() > 0) log::Warn("the sandbox's root file system is not used: the machine has its own");
  std::function<absl::StatusOr<PodDescription>()> prepare = [request, host_etc = options_.host_etc] {
    return Prepare(request, host_etc);
  };
  CO_ASSIGN_OR_RETURN(description_, co_await RunBlockingFor<PodDescription>(pool_, std::move(prepare)));
  co_return absl::OkStatus();
}

SandboxService::Reply<api::StartSandboxResponse> SandboxService::StartSandbox(ttrpc::CallContext, SandboxId request) {
  auto self = shared_from_this();
  CO_RETURN_IF_ERROR(Find(request.sandbox_id()));
  const std::string what = absl::StrCat("starting sandbox \"", request.sandbox_id(), "\"");
  if (IsOver()) co_return absl::FailedPreconditionError(absl::StrCat(what, ": it has ended"));
  if (state_ == State::kCreated) state_ = State::kStarting;
  absl::Status started = co_await pod_->Start(description_);
  if (state_ == State::kStarting && !started.ok()) End(kNotStartedStatus);
  if (!started.ok()) co_return started;
  std::shared_ptr<virtcontainers::Sandbox> sandbox = pod_->sandbox();
  if (IsOver() || sandbox == nullptr)
    co_return absl::UnavailableError(absl::StrCat(what, ": it was stopped meanwhile"));
  if (state_ == State::kStarting) {
    state_ = State::kReady;
    Spawn(executor_, "watching the sandbox's end", WatchEnd(self, sandbox));
  }
  api::StartSandboxResponse response;
  response.set_pid(static_cast<uint32_t>(sandbox->VmPid()));
  SetTimestamp(response.mutable_created_at(), created_at_ns_);
  co_return response;
}

Co<absl::Status> SandboxService::WatchEnd(std::shared_ptr<SandboxService> self,
                                          std::shared_ptr<virtcontainers::Sandbox> sandbox) {
  co_await sandbox->WaitStopped();
  self->End(self->stopped_ != nullptr ? kStoppedStatus : kEndedStatus);
  co_return absl::OkStatus();
}

void SandboxService::End(uint32_t exit_status) {
  if (exited_.is_set()) return;
  state_ = State::kStopped;
  exit_status_ = exit_status;
  exited_at_ns_ = Now();
  exited_.Set();
}

std::shared_ptr<Latch> SandboxService::BeginStop() {
  if (stopped_ != nullptr) return stopped_;
  stopped_ = std::make_shared<Latch>(executor_);
  if (state_ != State::kStopped) state_ = State::kStopping;
  Spawn(executor_, "stopping the sandbox", Stop(shared_from_this(), stopped_));
  return stopped_;
}

// Of one whose machine has ended as well: the rest of it on the host goes.
Co<absl::Status> SandboxService::Stop(std::shared_ptr<SandboxService> self, std::shared_ptr<Latch> stopped) {
  co_await self->pod_->Stop();
  self->End(kStoppedStatus);
  stopped->Set();
  co_return absl::OkStatus();
}

SandboxService::Reply<wire::Empty> SandboxService::StopSandbox(ttrpc::CallContext, api::StopSandboxRequest request) {
  auto self = shared_from_this();
  CO_RETURN_IF_ERROR(Find(request.sandbox_id()));
  std::shared_ptr<Latch> stopped = BeginStop();
  if (request.timeout_secs() == 0) {
    co_await stopped->Wait();
    co_return wire::Empty();
  }
  const bool is_done = co_await stopped->WaitFor(std::chrono::seconds(request.timeout_secs()));
  if (is_done) co_return wire::Empty();
  co_return absl::DeadlineExceededError(absl::StrCat("stopping sandbox \"", request.sandbox_id(),
                                                     "\": it did not end within ", request.timeout_secs(), " s"));
}

SandboxService::Reply<api::WaitSandboxResponse> SandboxService::WaitSandbox(ttrpc::CallContext, SandboxId request) {
  auto self = shared_from_this();
  CO_RETURN_IF_ERROR(Find(request.sandbox_id()));
  co_await exited_.Wait();
  api::WaitSandboxResponse response;
  response.set_exit_status(exit_status_);
  SetTimestamp(response.mutable_exited_at(), exited_at_ns_);
  co_return response;
}

SandboxService::Reply<wire::Empty> SandboxService::ShutdownSandbox(ttrpc::CallContext, SandboxId request) {
  auto self = shared_from_this();
  // The caller of a CreateSandbox that has failed ends the shim so; one with another's containers is not its to end.
  const bool is_free = request.sandbox_id() == options_.sandbox_id && (pod_->is_kept() || pod_->sandbox() == nullptr);
  if (!is_free) CO_RETURN_IF_ERROR(Find(request.sandbox_id()));
  std::shared_ptr<Latch> stopped = BeginStop();
  co_await stopped->Wait();
  options_.shut_down();
  co_return wire::Empty();
}

}  // namespace kata::shimv2
