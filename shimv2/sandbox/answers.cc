// SPDX-License-Identifier: Apache-2.0
// The part of SandboxService that tells of the sandbox. All but the statistics come from memory.
#include <sys/utsname.h>

#include <chrono>
#include <utility>

#include "proto/base/status.h"
#include "shimv2/sandbox/sandbox_service.h"
#include "shimv2/task/records.h"
#include "shimv2/task/stats.h"

namespace kata::shimv2 {
namespace {

namespace api = containerd::runtime::sandbox::v1;

// As Go calls it.
std::string Architecture() {
  utsname names{};
  if (::uname(&names) != 0) return "";
  const std::string machine = names.machine;
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  return machine;
}

}  // namespace

SandboxService::Reply<api::PlatformResponse> SandboxService::Platform(ttrpc::CallContext, SandboxId request) {
  CO_RETURN_IF_ERROR(Find(request.sandbox_id()));
  api::PlatformResponse response;
  response.mutable_platform()->set_os("linux");
  response.mutable_platform()->set_architecture(Architecture());
  co_return response;
}

SandboxService::Reply<api::SandboxStatusResponse> SandboxService::SandboxStatus(ttrpc::CallContext,
                                                                                api::SandboxStatusRequest request) {
  CO_RETURN_IF_ERROR(Find(request.sandbox_id()));
  std::shared_ptr<virtcontainers::Sandbox> sandbox = pod_->sandbox();
  api::SandboxStatusResponse response;
  response.set_sandbox_id(request.sandbox_id());
  response.set_state(state_ == State::kReady ? "SANDBOX_READY" : "SANDBOX_NOTREADY");
  SetTimestamp(response.mutable_created_at(), created_at_ns_);
  if (exited_.is_set()) SetTimestamp(response.mutable_exited_at(), exited_at_ns_);
  if (sandbox == nullptr) co_return response;
  response.set_pid(static_cast<uint32_t>(sandbox->VmPid()));
  if (!request.verbose()) co_return response;
  for (const auto& [name, value] : sandbox->Facts()) (*response.mutable_info())[name] = value;
  (*response.mutable_info())["containers"] = std::to_string(sandbox->ContainerCount());
  co_return response;
}

SandboxService::Reply<wire::Empty> SandboxService::PingSandbox(ttrpc::CallContext, SandboxId request) {
  CO_RETURN_IF_ERROR(Find(request.sandbox_id()));
  if (state_ == State::kReady) co_return wire::Empty();
  co_return absl::FailedPreconditionError(absl::StrCat("sandbox \"", request.sandbox_id(), "\" does not run"));
}

SandboxService::Reply<api::SandboxMetricsResponse> SandboxService::SandboxMetrics(ttrpc::CallContext,
                                                                                  SandboxId request) {
  auto self = shared_from_this();
  CO_RETURN_IF_ERROR(Find(request.sandbox_id()));
  std::shared_ptr<virtcontainers::Sandbox> sandbox = pod_->sandbox();
  if (state_ != State::kReady || sandbox == nullptr) {
    co_return absl::FailedPreconditionError(absl::StrCat("sandbox \"", request.sandbox_id(), "\" does not run"));
  }
  auto stats = co_await sandbox->Stats();
  if (!stats.ok()) co_return stats.status();
  api::SandboxMetricsResponse response;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  SetTimestamp(response.mutable_metrics()->mutable_timestamp(),
               std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
  response.mutable_metrics()->set_id(request.sandbox_id());
  *response.mutable_metrics()->mutable_data() = StatsAny(*stats, HostCgroupVersion());
  co_return response;
}

}  // namespace kata::shimv2
