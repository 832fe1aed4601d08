// SPDX-License-Identifier: Apache-2.0
#include "shimv2/pod/pod_sandbox.h"

#include <chrono>
#include <utility>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "shimv2/pod/installation.h"
#include "shimv2/pod/runtime_options.h"

namespace kata::shimv2 {
namespace {

constexpr size_t kDigestInName = 8;

absl::StatusOr<virtcontainers::Config> LoadConfigOf(const RuntimeOptions& caller,
                                                    const std::map<std::string, std::string>& annotations) {
  ASSIGN_OR_RETURN(virtcontainers::Config config,
                   virtcontainers::LoadConfig(InstallationPrefix(), caller.config_path, caller.config_body));
  RETURN_IF_ERROR(virtcontainers::ApplyAnnotations(config, annotations));
  return config;
}

bool IsGiven(const PodDescription& pod, const char* annotation) {
  return pod.config_annotations.contains(absl::StrCat(virtcontainers::kAnnotationPrefix, annotation));
}

void FitToPod(const PodDescription& pod, virtcontainers::Config& config) {
  FitMachine(pod.size, virtcontainers::ReadHostSize(), IsGiven(pod, "hypervisor.default_memory"),
             IsGiven(pod, "hypervisor.default_vcpus"), config);
}

}  // namespace

std::string SandboxName(const std::string& sandbox_id, const std::string& socket_path) {
  return absl::StrCat(sandbox_id, "-", socket_path.substr(socket_path.rfind('/') + 1, kDigestInName));
}

PodSandbox::PodSandbox(asio::any_io_executor executor, asio::thread_pool& pool, PodOptions options,
                       SandboxMaker make_sandbox)
    : executor_(executor), pool_(pool), options_(std::move(options)), make_sandbox_(std::move(make_sandbox)) {}

Co<absl::Status> PodSandbox::Ensure(PodDescription pod) {
  if (is_kept_ && sandbox_ == nullptr) {
    co_return absl::FailedPreconditionError(
        absl::StrCat("sandbox \"", pod.sandbox_id, "\" does not run: it was not started, or has ended"));
  }
  co_return co_await MakeOnce(std::move(pod));
}

absl::Status PodSandbox::Keep() {
  if (is_kept_ || sandbox_ != nullptr || made_ != nullptr)
    return absl::AlreadyExistsError("this shim has a sandbox already");
  is_kept_ = true;
  return absl::OkStatus();
}

Co<absl::Status> PodSandbox::Start(PodDescription pod) {
  auto self = shared_from_this();
  absl::Status made = co_await MakeOnce(std::move(pod));
  if (!made.ok()) co_return made;
  std::shared_ptr<Outcome> started = started_;
  if (started == nullptr) co_return absl::UnavailableError("the sandbox was stopped meanwhile");
  co_await started->known.Wait();
  co_return started->status;
}

Co<absl::Status> PodSandbox::MakeOnce(PodDescription pod) {
  auto self = shared_from_this();
  while (made_ != nullptr) {
    std::shared_ptr<Latch> other = made_;
    co_await other->Wait();
  }
  if (sandbox_ != nullptr) co_return absl::OkStatus();
  if (is_ended_) co_return absl::UnavailableError("its shim is shutting down; try again");
  auto mine = std::make_shared<Latch>(executor_);
  made_ = mine;
  absl::Status status = co_await MakeSandbox(std::move(pod));
  made_ = nullptr;
  mine->Set();
  co_return status;
}

// A failed start reaches containers through CreateContainer, which waits for it, and a keeper through Start.
Co<absl::Status> PodSandbox::StartSandbox(std::shared_ptr<virtcontainers::Sandbox> sandbox,
                                          std::shared_ptr<Outcome> started) {
  started->status = co_await sandbox->Start();
  if (!started->status.ok()) log::Debug("the sandbox did not start: {}", started->status.message());
  started->known.Set();
  co_return absl::OkStatus();
}

Co<absl::Status> PodSandbox::MakeSandbox(PodDescription pod) {
  if (stopped_ != nullptr) co_return absl::UnavailableError("the sandbox is being stopped");
  if (pod.must_exist) {
    co_return absl::FailedPreconditionError(absl::StrCat("sandbox \"", pod.sandbox_id, "\" has ended; delete the pod"));
  }
  CO_ASSIGN_OR_RETURN(RuntimeOptions caller, ParseRuntimeOptions(pod.runtime_options));
  CO_ASSIGN_OR_RETURN(const RuntimeOptions at_start, ParseRuntimeOptions(options_.start_options));
  if (caller.empty()) caller = at_start;
  std::function<absl::StatusOr<virtcontainers::Config>()> load = [caller, annotations = pod.config_annotations] {
    return LoadConfigOf(caller, annotations);
  };
  CO_ASSIGN_OR_RETURN(virtcontainers::Config config,
                      co_await RunBlockingFor<virtcontainers::Config>(pool_, std::move(load)));
  if (is_ended_) co_return absl::UnavailableError("its shim is shutting down; try again");
  virtcontainers::SandboxOptions options;
  options.id = SandboxName(pod.sandbox_id, options_.socket_path);
  identity_.sandbox_id = pod.sandbox_id;
  identity_.sandbox_name = options.id;
  identity_.pod_name = pod.pod_name;
  identity_.pod_namespace = pod.pod_namespace;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  identity_.created_at_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
  options.config = std::move(config);
  options.netns_path = pod.netns_path;
  options.hostname = pod.hostname;
  if (options.hostname.empty()) options.hostname = HostName();
  options.cgroup_path = pod.cgroup_path;
  options.is_shim_placed = !at_start.shim_cgroup.empty();
  options.pod = pod.settings;
  options.size = pod.size;
  FitToPod(pod, options.config);
  if (options.config.enable_debug) log::SetLevel(log::Level::kDebug);
  sandbox_ = make_sandbox_(std::move(options));
  started_ = std::make_shared<Outcome>(executor_);
  Spawn(executor_, "starting the sandbox", StartSandbox(sandbox_, started_));
  co_return absl::OkStatus();
}

Co<void> PodSandbox::Stop() {
  auto self = shared_from_this();
  while (made_ != nullptr) {
    std::shared_ptr<Latch> making = made_;
    co_await making->Wait();
  }
  std::shared_ptr<virtcontainers::Sandbox> sandbox = std::exchange(sandbox_, nullptr);
  started_ = nullptr;
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

std::string PodSandbox::StateWord() const {
  if (stopped_ != nullptr) return "stopping";
  if (sandbox_ == nullptr) return made_ != nullptr ? "starting" : "none";
  if (!started_->known.is_set()) return "starting";
  if (!started_->status.ok()) return "failed";
  return sandbox_->VmPid() > 0 ? "running" : "ended";
}

absl::Status PodSandbox::StartStatus() const {
  return started_ != nullptr && started_->known.is_set() ? started_->status : absl::OkStatus();
}

std::string PodSandbox::Describe() const {
  if (stopped_ != nullptr) return "sandbox: being stopped";
  if (sandbox_ == nullptr) return "sandbox: none";
  const pid_t pid = sandbox_->VmPid();
  return absl::StrCat("sandbox: ", sandbox_->ContainerCount(), " containers, ",
                      pid > 0 ? absl::StrCat("machine's process ", pid) : "no machine");
}

}  // namespace kata::shimv2
