// SPDX-License-Identifier: Apache-2.0
#include "shimv2/pod/pod_sandbox.h"

#include <limits.h>
#include <unistd.h>

#include <utility>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "shimv2/pod/installation.h"
#include "shimv2/pod/pod_size.h"
#include "shimv2/pod/runtime_options.h"

namespace kata::shimv2 {
namespace {

constexpr size_t kDigestInName = 8;

// What a container shows that has the host's name by its document (Docker's --uts host), or a uts namespace and no
// name: as with runc, that of the host. One with a name of its own sets it in its own namespace.
std::string HostName() {
  char name[HOST_NAME_MAX + 1] = {};
  return ::gethostname(name, HOST_NAME_MAX) == 0 ? name : "";
}

absl::StatusOr<virtcontainers::Config> LoadConfigOf(const RuntimeOptions& caller,
                                                    const std::map<std::string, std::string>& annotations) {
  ASSIGN_OR_RETURN(virtcontainers::Config config,
                   virtcontainers::LoadConfig(InstallationPrefix(), caller.config_path, caller.config_body));
  RETURN_IF_ERROR(virtcontainers::ApplyAnnotations(config, annotations));
  return config;
}

bool IsGiven(const BundleInfo& info, const char* annotation) {
  return info.config_annotations.contains(absl::StrCat(virtcontainers::kAnnotationPrefix, annotation));
}

void FitToPod(const BundleInfo& info, virtcontainers::Config& config) {
  // Of a group nobody knows what else joins it.
  if (info.may_join) return;
  FitMachine(ReadPodSize(info.document->json()), ReadHostSize(), IsGiven(info, "hypervisor.default_memory"),
             IsGiven(info, "hypervisor.default_vcpus"), config);
}

// The error of a failed start reaches the caller through CreateContainer, which waits for it.
Co<absl::Status> StartSandbox(std::shared_ptr<virtcontainers::Sandbox> sandbox) {
  absl::Status status = co_await sandbox->Start();
  if (!status.ok()) log::Debug("the sandbox did not start: {}", status.message());
  co_return absl::OkStatus();
}

}  // namespace

std::string SandboxName(const std::string& sandbox_id, const std::string& socket_path) {
  return absl::StrCat(sandbox_id, "-", socket_path.substr(socket_path.rfind('/') + 1, kDigestInName));
}

PodSandbox::PodSandbox(asio::any_io_executor executor, asio::thread_pool& pool, PodOptions options,
                       SandboxMaker make_sandbox)
    : executor_(executor), pool_(pool), options_(std::move(options)), make_sandbox_(std::move(make_sandbox)) {}

Co<absl::Status> PodSandbox::Ensure(BundleInfo info, wire::Any caller_options) {
  auto self = shared_from_this();
  while (made_ != nullptr) {
    std::shared_ptr<Latch> other = made_;
    co_await other->Wait();
  }
  if (sandbox_ != nullptr) co_return absl::OkStatus();
  if (is_ended_) co_return absl::UnavailableError("its shim is shutting down; try again");
  auto mine = std::make_shared<Latch>(executor_);
  made_ = mine;
  absl::Status status = co_await MakeSandbox(std::move(info), std::move(caller_options));
  made_ = nullptr;
  mine->Set();
  co_return status;
}

Co<absl::Status> PodSandbox::MakeSandbox(BundleInfo info, wire::Any caller_options) {
  if (stopped_ != nullptr) co_return absl::UnavailableError("the sandbox is being stopped");
  if (info.joins_sandbox) {
    co_return absl::FailedPreconditionError(
        absl::StrCat("sandbox \"", info.sandbox_id, "\" has ended; delete the pod"));
  }
  CO_ASSIGN_OR_RETURN(RuntimeOptions caller, ParseRuntimeOptions(caller_options));
  CO_ASSIGN_OR_RETURN(const RuntimeOptions at_start, ParseRuntimeOptions(options_.start_options));
  if (caller.empty()) caller = at_start;
  std::function<absl::StatusOr<virtcontainers::Config>()> load = [caller, annotations = info.config_annotations] {
    return LoadConfigOf(caller, annotations);
  };
  CO_ASSIGN_OR_RETURN(virtcontainers::Config config,
                      co_await RunBlockingFor<virtcontainers::Config>(pool_, std::move(load)));
  if (is_ended_) co_return absl::UnavailableError("its shim is shutting down; try again");
  virtcontainers::SandboxOptions options;
  options.id = SandboxName(info.sandbox_id, options_.socket_path);
  options.config = std::move(config);
  options.netns_path = info.netns_path;
  options.hostname = HostName();
  options.cgroup_path = info.cgroup_path;
  options.is_shim_placed = !at_start.shim_cgroup.empty();
  FitToPod(info, options.config);
  if (options.config.enable_debug) log::SetLevel(log::Level::kDebug);
  sandbox_ = make_sandbox_(std::move(options));
  Spawn(executor_, "starting the sandbox", StartSandbox(sandbox_));
  co_return absl::OkStatus();
}

Co<void> PodSandbox::Stop() {
  auto self = shared_from_this();
  while (made_ != nullptr) {
    std::shared_ptr<Latch> making = made_;
    co_await making->Wait();
  }
  std::shared_ptr<virtcontainers::Sandbox> sandbox = std::exchange(sandbox_, nullptr);
  std::shared_ptr<Latch> stopped = stopped_;
  if (sandbox == nullptr) {
    // The process may end after this.
    if (stopped != nullptr) co_await stopped->Wait();
    co_return;
  }
  stopped = std::make_shared<Latch>(executor_);
  stopped_ = stopped;
  absl::Status status = co_await sandbox->Stop();
  stopped_ = nullptr;
  stopped->Set();
  if (!status.ok()) log::Warn("stopping the sandbox: {}", status.message());
}

Co<void> PodSandbox::End() {
  is_ended_ = true;
  co_await Stop();
}

std::string PodSandbox::Describe() const {
  if (stopped_ != nullptr) return "sandbox: being stopped";
  if (sandbox_ == nullptr) return "sandbox: none";
  const pid_t pid = sandbox_->VmPid();
  return absl::StrCat("sandbox: ", sandbox_->ContainerCount(), " containers, ",
                      pid > 0 ? absl::StrCat("machine's process ", pid) : "no machine");
}

}  // namespace kata::shimv2
