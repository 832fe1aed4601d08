// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/pod_holder.h"

#include <chrono>
#include <utility>

#include <nlohmann/json.hpp>

#include "proto/base/status.h"
#include "virtcontainers/container/guest_container.h"
#include "virtcontainers/container/late_calls.h"

namespace kata::virtcontainers {
namespace {

using Json = nlohmann::json;

constexpr std::chrono::nanoseconds kNoTimeout{0};  // it stays as long as the pod

Json MapOf(const std::vector<IdMapping>& mappings) {
  Json out = Json::array();
  for (const IdMapping& item : mappings)
    out.push_back({{"containerID", item.container}, {"hostID", item.host}, {"size", item.size}});
  return out;
}

Json NamespacesOf(const PodSettings& pod) {
  Json out = Json::array();
  for (const char* type : {"mount", "ipc", "uts", "pid"}) out.push_back({{"type", type}});
  if (!pod.uid_mappings.empty()) out.push_back({{"type", "user"}});
  return out;
}

}  // namespace

bool NeedsHolder(const PodSettings& pod) {
  return pod.shares_pids || !pod.uid_mappings.empty() || !pod.gid_mappings.empty();
}

agent::v1::CreateContainerRequest MakeHolderRequest(const SandboxOptions& options) {
  const PodSettings& pod = *options.pod;
  Json spec = {{"ociVersion", "1.1.0"},
               {"process",
                {{"args", {"/pause"}},
                 {"user", {{"uid", 0}, {"gid", 0}}},
                 {"cwd", "/"},
                 {"noNewPrivileges", true},
                 {"capabilities", Json::object()}}},
               {"root", {{"path", "/"}}},
               {"hostname", options.hostname},
               {"linux", {{"namespaces", NamespacesOf(pod)}, {"sysctl", pod.sysctls}}}};
  if (!pod.uid_mappings.empty()) spec["linux"]["uidMappings"] = MapOf(pod.uid_mappings);
  if (!pod.gid_mappings.empty()) spec["linux"]["gidMappings"] = MapOf(pod.gid_mappings);
  agent::v1::CreateContainerRequest request;
  request.set_container_id(kPodHolderId);
  request.set_is_sandbox(true);
  request.set_spec_json(spec.dump(-1, ' ', false, Json::error_handler_t::replace));
  return request;
}

Co<absl::Status> StartHolder(std::shared_ptr<ttrpc::Connection> connection, agent::v1::CreateContainerRequest request) {
  absl::Status made = co_await CreateInGuest(connection, std::move(request), kAgentCallTimeout);
  if (!made.ok()) co_return made;
  agent::v1::AgentClient client(connection);
  agent::v1::ProcessId id;
  id.set_container_id(kPodHolderId);
  auto started = co_await client.StartContainer(std::move(id), kAgentCallTimeout);
  co_return started.status();
}

Co<absl::Status> WaitHolder(std::shared_ptr<ttrpc::Connection> connection) {
  agent::v1::AgentClient client(connection);
  agent::v1::ProcessId id;
  id.set_container_id(kPodHolderId);
  auto ended = co_await client.WaitProcess(std::move(id), kNoTimeout);
  co_return ended.status();
}

}  // namespace kata::virtcontainers
