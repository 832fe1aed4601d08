// SPDX-License-Identifier: Apache-2.0
#include "tools/kata-ctl/pods/pod_line.h"

#include <chrono>
#include <optional>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>

#include "proto/base/process_figures.h"

namespace kata::ctl {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr uint64_t kMebibyte = 1u << 20;

int64_t NumberOf(const Json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_number_integer() ? at->get<int64_t>() : 0;
}

// Numbers of the machine are texts.
uint64_t NumberInText(const Json& object, const char* key) {
  uint64_t value = 0;
  return absl::SimpleAtoi(TextOf(object, key), &value) ? value : 0;
}

void AddProcess(int64_t pid, PodLine& line) {
  const std::optional<ProcessFigures> figures = ReadProcessFigures(static_cast<pid_t>(pid));
  if (!figures.has_value()) return;
  line.resident_bytes += figures->anonymous_bytes + figures->file_bytes + figures->shared_bytes;
  line.cpu_seconds += figures->user_seconds + figures->system_seconds;
}

}  // namespace

std::string TextOf(const Json& object, const char* key) {
  if (!object.is_object()) return "";
  const auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : "";
}

PodLine LineOf(const management::Pod& pod) {
  PodLine line;
  line.sandbox = pod.sandbox;
  if (!pod.state.is_object()) {
    line.state = "no answer";
    return line;
  }
  const Json machine = pod.state.value("machine", Json::object());
  line.pod = TextOf(pod.state, "pod");
  if (line.pod.empty())
    line.pod = TextOf(pod.state, "id");
  else
    line.pod = absl::StrCat(TextOf(pod.state, "pod_namespace"), "/", line.pod);
  line.state = TextOf(pod.state, "state");
  line.containers = pod.state.value("containers", Json::array()).size();
  line.processors = TextOf(machine, "vcpus");
  line.machine_bytes = NumberInText(machine, "memory_mib") * kMebibyte;
  line.accelerator = TextOf(machine, "accelerator");
  line.started_by = TextOf(machine, "started_by");
  AddProcess(NumberOf(pod.state.value("shim", Json::object()), "pid"), line);
  AddProcess(static_cast<int64_t>(NumberInText(machine, "machine_pid")), line);
  AddProcess(static_cast<int64_t>(NumberInText(machine, "virtiofsd_pid")), line);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  line.age_seconds =
      (std::chrono::duration_cast<std::chrono::nanoseconds>(now).count() - NumberOf(pod.state, "created_at_ns")) /
      kNsPerSecond;
  return line;
}

Json JsonOf(const PodLine& line) {
  return {{"sandbox", line.sandbox},
          {"pod", line.pod},
          {"state", line.state},
          {"containers", line.containers},
          {"processors", line.processors},
          {"machine_bytes", line.machine_bytes},
          {"resident_bytes", line.resident_bytes},
          {"cpu_seconds", line.cpu_seconds},
          {"accelerator", line.accelerator},
          {"started_by", line.started_by},
          {"age_seconds", line.age_seconds}};
}

}  // namespace kata::ctl
