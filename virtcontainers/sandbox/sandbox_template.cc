// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/sandbox_template.h"

#include <chrono>

#include "proto/base/child_process.h"
#include "proto/base/log.h"
#include "proto/base/process.h"
#include "proto/base/status.h"
#include "virtcontainers/template/template_request.h"
#include "virtcontainers/template/template_store.h"

namespace kata::virtcontainers {
namespace {

constexpr char kProgram[] = "/libexec/kata-containers/kata-template";
constexpr std::chrono::seconds kDetachTimeout{5};

// Lives on when this process ends; it leaves its parent at once.
absl::Status StartBuilder(const Config& config, const hypervisors::VmSpec& spec) {
  TemplateRequest request;
  request.spec = spec;
  request.store = config.template_path;
  request.dial_timeout = config.dial_timeout;
  ChildOptions options;
  options.name = "kata-template";
  options.words = {config.prefix + kProgram, "make", "--detach", ToText(request)};
  ASSIGN_OR_RETURN(ChildProcess child, StartChild(options));
  HasEnded(child.pidfd.get(), kDetachTimeout);
  return EndChild(child, options.name, kDetachTimeout);
}

absl::Status Use(const Config& config, hypervisors::VmSpec& spec) {
  ASSIGN_OR_RETURN(const std::string shape, hypervisors::ShapeOf(spec));
  const std::string key = TemplateStore::KeyOf(shape);
  const TemplateStore store(config.template_path);
  // A pod with limits of its own may be the only one of its size.
  const bool is_usual = config.memory_without_limit == 0 || config.memory_without_limit == config.default_memory;
  switch (store.Ask(key, is_usual)) {
    case TemplateStore::Standing::kReady:
      spec.saved_state = store.DirectoryOf(key);
      return absl::OkStatus();
    case TemplateStore::Standing::kWanted:
      RETURN_IF_ERROR(store.Prepare());
      return StartBuilder(config, spec);
    case TemplateStore::Standing::kSeenFirst:
      return absl::OkStatus();
    case TemplateStore::Standing::kFailed:
      return absl::UnavailableError(absl::StrCat("making it has failed: ", store.WhyNot(key)));
  }
  return absl::OkStatus();
}

}  // namespace

bool CanBeClone(const Config& config) {
  const bool is_serial =
      config.agent_transport == AgentTransport::kAuto || config.agent_transport == AgentTransport::kVirtioSerial;
  return config.enable_template && is_serial && config.shared_fs == SharedFs::kVirtioFs;
}

void UseTemplate(const Config& config, hypervisors::VmSpec& spec) {
  const absl::Status used = Use(config, spec);
  if (!used.ok()) log::Warn("the machine boots, there is no template for it: {}", used.message());
}

void LeaveTemplateWithoutRoom(const SandboxCgroup& cgroup, hypervisors::VmSpec& spec) {
  if (!spec.saved_state.empty() && !cgroup.HasRoomFor(TemplateStore::SizeOf(spec.saved_state))) spec.saved_state = "";
}

void DropTemplate(const Config& config, const std::string& saved_state) {
  const std::string key = saved_state.substr(saved_state.rfind('/') + 1);
  const absl::Status removed = TemplateStore(config.template_path).Remove(key);
  if (!removed.ok()) log::Warn("removing a template that did not serve: {}", removed.message());
}

}  // namespace kata::virtcontainers
