// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "proto/base/version.h"
#include "shimv2/management/pages.h"

namespace kata::shimv2 {
namespace {

using Json = nlohmann::ordered_json;

Json ProcessJson(const ProcessSummary& process) {
  Json out = {{"id", process.id}, {"state", process.state}};
  if (process.exit.has_value()) {
    out["exit_status"] = process.exit->status;
    out["exited_at_ns"] = process.exit->exited_at_ns;
  }
  return out;
}

Json TaskJson(const TaskSummary& task) {
  Json out = {{"id", task.id}, {"state", "creating"}, {"bundle", task.bundle}, {"pid", task.pid}};
  Json execs = Json::array();
  for (const ProcessSummary& process : task.processes) {
    if (process.id.empty())
      out.update(ProcessJson(process));
    else
      execs.push_back(ProcessJson(process));
  }
  out["id"] = task.id;
  out["execs"] = std::move(execs);
  return out;
}

}  // namespace

std::string StatePage(const PodView& view) {
  const PodIdentity& identity = view.pod->identity();
  Json out = {{"sandbox", identity.sandbox_name},
              {"id", identity.sandbox_id},
              {"pod", identity.pod_name},
              {"pod_namespace", identity.pod_namespace},
              {"namespace", view.name_space},
              {"state", view.pod->StateWord()},
              {"created_at_ns", identity.created_at_ns},
              {"shim",
               {{"pid", ::getpid()},
                {"version", std::string(kBuildVersion)},
                {"commit", std::string(kBuildCommit)},
                {"started_at_ns", view.started_at_ns},
                {"socket", view.socket_path}}}};
  const absl::Status status = view.pod->StartStatus();
  if (!status.ok()) out["error"] = std::string(status.message());
  Json machine = Json::object();
  if (const std::shared_ptr<virtcontainers::Sandbox> sandbox = view.pod->sandbox(); sandbox != nullptr) {
    for (const auto& [name, value] : sandbox->Facts()) machine[name] = value;
  }
  out["machine"] = std::move(machine);
  Json containers = Json::array();
  for (const TaskSummary& task : view.tasks->Summaries()) containers.push_back(TaskJson(task));
  out["containers"] = std::move(containers);
  // Ids come from callers: bytes that are no text must not make the page fail.
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace kata::shimv2
