// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/cgroup/systemd_scope.h"

#include <systemd/sd-bus.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

constexpr char kSlice[] = ".slice";
constexpr char kDefaultSlice[] = "system.slice";
constexpr size_t kUnitNameMax = 255;
constexpr std::chrono::seconds kJobTimeout{20};
constexpr char kService[] = "org.freedesktop.systemd1";
constexpr char kObject[] = "/org/freedesktop/systemd1";
constexpr char kNoSuchUnit[] = "org.freedesktop.systemd1.NoSuchUnit";
constexpr char kManager[] = "org.freedesktop.systemd1.Manager";

using Bus = std::unique_ptr<sd_bus, decltype(&sd_bus_flush_close_unref)>;
using Message = std::unique_ptr<sd_bus_message, decltype(&sd_bus_message_unref)>;

bool IsUnitWord(const std::string& text) {
  for (char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && !absl::StrContains(":-_.\\", c)) return false;
  }
  return !text.empty();
}

bool IsSlice(const std::string& text) {
  if (text == "-.slice") return true;
  if (text.size() > kUnitNameMax || !IsUnitWord(text) || !absl::EndsWith(text, kSlice)) return false;
  const std::string stem = text.substr(0, text.size() - sizeof(kSlice) + 1);
  return !stem.empty() && stem.front() != '-' && stem.back() != '-' && !absl::StrContains(stem, "--");
}

// The end of the job that `path` names, once it has come.
struct Job {
  std::string path;
  std::string result;
};

int OnJobRemoved(sd_bus_message* message, void* data, sd_bus_error* /*error*/) {
  auto* jobs = static_cast<std::vector<Job>*>(data);
  uint32_t number = 0;
  const char* path = "";
  const char* unit = "";
  const char* result = "";
  if (sd_bus_message_read(message, "uoss", &number, &path, &unit, &result) >= 0) jobs->push_back({path, result});
  return 0;
}

int AppendProperties(sd_bus_message* message, const SystemdScope& scope, pid_t pid) {
  const std::string description = absl::StrCat("virtual machine of ", scope.unit);
  int r = sd_bus_message_append(message, "ss", scope.unit.c_str(), "fail");
  if (r >= 0) r = sd_bus_message_open_container(message, 'a', "(sv)");
  if (r >= 0) r = sd_bus_message_append(message, "(sv)", "Description", "s", description.c_str());
  if (r >= 0) r = sd_bus_message_append(message, "(sv)", "Slice", "s", scope.slice.c_str());
  if (r >= 0) r = sd_bus_message_append(message, "(sv)", "PIDs", "au", 1, static_cast<uint32_t>(pid));
  for (const char* name : {"Delegate", "CPUAccounting", "MemoryAccounting", "TasksAccounting", "IOAccounting"}) {
    if (r >= 0) r = sd_bus_message_append(message, "(sv)", name, "b", 1);
  }
  // Else its stop comes with the host's shutdown, before that of the engine.
  if (r >= 0) r = sd_bus_message_append(message, "(sv)", "DefaultDependencies", "b", 0);
  if (r >= 0) r = sd_bus_message_append(message, "(sv)", "CollectMode", "s", "inactive-or-failed");
  if (r >= 0) r = sd_bus_message_close_container(message);
  return r >= 0 ? sd_bus_message_append(message, "a(sa(sv))", 0) : r;
}

absl::StatusOr<Bus> Connect(const std::string& socket) {
  sd_bus* raw = nullptr;
  int r = sd_bus_new(&raw);
  Bus bus(raw, &sd_bus_flush_close_unref);
  if (r >= 0) r = sd_bus_set_address(bus.get(), absl::StrCat("unix:path=", socket).c_str());
  if (r >= 0) r = sd_bus_start(bus.get());
  if (r < 0) return ErrnoStatus(-r, absl::StrCat("connecting to systemd at \"", socket, "\""));
  return bus;
}

absl::Status WaitForJob(sd_bus* bus, const std::string& path, const std::vector<Job>& jobs) {
  const auto until = std::chrono::steady_clock::now() + kJobTimeout;
  for (;;) {
    for (const Job& job : jobs) {
      if (job.path != path) continue;
      return job.result == "done" ? absl::OkStatus() : absl::InternalError(absl::StrCat("its job ended ", job.result));
    }
    int r = sd_bus_process(bus, nullptr);
    if (r > 0) continue;
    const auto left = std::chrono::duration_cast<std::chrono::microseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return absl::DeadlineExceededError("systemd does not end its job");
    if (r == 0) r = sd_bus_wait(bus, static_cast<uint64_t>(left.count()));
    if (r < 0 && r != -EINTR) return ErrnoStatus(-r, "waiting for systemd");
  }
}

// Calls the manager and waits for the job that the answer names. `append` adds the arguments; `none`: the error's name
// that means that there is nothing to do.
absl::Status RunJob(const std::string& socket, const char* method, const std::function<int(sd_bus_message*)>& append,
                    const char* none = nullptr) {
  std::vector<Job> jobs;
  ASSIGN_OR_RETURN(Bus bus, Connect(socket));
  int r = sd_bus_match_signal(bus.get(), nullptr, nullptr, kObject, kManager, "JobRemoved", &OnJobRemoved, &jobs);
  if (r < 0) return ErrnoStatus(-r, "listening to systemd's jobs");
  sd_bus_error error{};
  const std::unique_ptr<sd_bus_error, decltype(&sd_bus_error_free)> error_owner(&error, &sd_bus_error_free);
  r = sd_bus_call_method(bus.get(), kService, kObject, kManager, "Subscribe", &error, nullptr, "");
  sd_bus_message* raw = nullptr;
  if (r >= 0) r = sd_bus_message_new_method_call(bus.get(), &raw, kService, kObject, kManager, method);
  const Message call(raw, &sd_bus_message_unref);
  if (r >= 0) r = append(call.get());
  sd_bus_message* answer = nullptr;
  const auto timeout = std::chrono::duration_cast<std::chrono::microseconds>(kJobTimeout).count();
  if (r >= 0) r = sd_bus_call(bus.get(), call.get(), static_cast<uint64_t>(timeout), &error, &answer);
  const Message reply(answer, &sd_bus_message_unref);
  if (r < 0 && none != nullptr && sd_bus_error_has_name(&error, none) != 0) return absl::OkStatus();
  const char* path = "";
  if (r >= 0) r = sd_bus_message_read(reply.get(), "o", &path);
  if (r < 0) return ErrnoStatus(-r, error.message != nullptr ? error.message : "asking systemd");
  return WaitForJob(bus.get(), path, jobs);
}

}  // namespace

bool IsSystemdName(const std::string& cgroups_path) {
  return !absl::StrContains(cgroups_path, '/') && std::count(cgroups_path.begin(), cgroups_path.end(), ':') == 2;
}

absl::StatusOr<SystemdScope> ParseSystemdName(const std::string& cgroups_path) {
  const std::vector<std::string> parts = absl::StrSplit(cgroups_path, ':');
  if (parts.size() != 3) return absl::InvalidArgumentError("it is not slice:prefix:name");
  const std::string slice = parts[0].empty() ? kDefaultSlice : parts[0];
  if (!IsSlice(slice)) return absl::InvalidArgumentError(absl::StrCat("\"", slice, "\" is no slice of systemd"));
  const std::string unit = absl::StrCat(parts[1], parts[1].empty() ? "" : "-", parts[2], ".scope");
  if (parts[2].empty() || absl::EndsWith(parts[2], kSlice) || !IsUnitWord(unit) || unit.size() > kUnitNameMax)
    return absl::InvalidArgumentError(absl::StrCat("\"", unit, "\" cannot be a scope of systemd"));
  return SystemdScope{slice, unit};
}

std::string PathOfScope(const SystemdScope& scope) {
  std::vector<std::string> path;
  if (scope.slice != "-.slice") {
    std::string name;
    const std::string stem = scope.slice.substr(0, scope.slice.size() - sizeof(kSlice) + 1);
    for (absl::string_view part : absl::StrSplit(stem, '-')) {
      absl::StrAppend(&name, name.empty() ? "" : "-", part);
      path.push_back(name + kSlice);
    }
  }
  path.push_back(scope.unit);
  return absl::StrJoin(path, "/");
}

absl::Status StartScope(const SystemdScope& scope, pid_t pid, const std::string& socket) {
  const auto append = [&scope, pid](sd_bus_message* message) { return AppendProperties(message, scope, pid); };
  return Annotate(RunJob(socket, "StartTransientUnit", append),
                  absl::StrCat("starting scope \"", scope.unit, "\" of \"", scope.slice, "\" by systemd"));
}

absl::Status StopScope(const std::string& unit, const std::string& socket) {
  const auto append = [&unit](sd_bus_message* message) {
    return sd_bus_message_append(message, "ss", unit.c_str(), "replace");
  };
  return Annotate(RunJob(socket, "StopUnit", append, kNoSuchUnit),
                  absl::StrCat("stopping scope \"", unit, "\" by systemd"));
}

}  // namespace kata::virtcontainers
