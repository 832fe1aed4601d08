// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/sandbox_cgroup.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"
#include "virtcontainers/cgroup/systemd_scope.h"
#include "virtcontainers/paths.h"
#include "virtcontainers/sandbox/process_tree.h"

namespace kata::virtcontainers {
namespace {

constexpr size_t kSmallFileMax = 64u << 10;             // of /proc
constexpr std::chrono::milliseconds kEndOfKilled{500};  // a killed process may be there for a moment still
constexpr std::chrono::milliseconds kEndPoll{20};
constexpr char kOverhead[] = "kata_overhead/";
constexpr char kVcpuThread[] = "CPU ";  // QEMU's name of one: "CPU 0/KVM"

std::string PodRecord(const std::string& sandbox_id) { return RuntimeDirectory(sandbox_id) + "/cgroup"; }
std::string ScopeRecord(const std::string& sandbox_id) { return RuntimeDirectory(sandbox_id) + "/scope"; }
// What is asked of systemd, until ScopeRecord says that it is there.
std::string AskedRecord(const std::string& sandbox_id) { return RuntimeDirectory(sandbox_id) + "/scope-asked"; }
std::string OverheadRecord(const std::string& sandbox_id) { return RuntimeDirectory(sandbox_id) + "/cgroup-overhead"; }

absl::Status AddProcessors(const PodCgroup& cgroup, pid_t machine) {
  for (pid_t tid : ThreadsOf(machine)) {
    auto name = ReadFile(absl::StrCat("/proc/", machine, "/task/", tid, "/comm"), kSmallFileMax);
    if (name.ok() && absl::StartsWith(*name, kVcpuThread)) RETURN_IF_ERROR(cgroup.AddThread(tid));
  }
  return absl::OkStatus();
}

bool HasProcesses(const std::string& path) {
  for (const CgroupHierarchy& hierarchy : FindHierarchies(kCgroupRoot)) {
    auto pids = ReadFile(absl::StrCat(hierarchy.directory, "/", path, "/cgroup.procs"), kSmallFileMax);
    if (pids.ok() && !pids->empty()) return true;
  }
  return false;
}

// Of a shim that was killed while systemd made its scope: systemd does not notice that a scope is empty into which it
// has put a process that has ended already. One with processes in it is another's of that name.
absl::Status StopAskedScope(const std::string& cgroups_path) {
  ASSIGN_OR_RETURN(const SystemdScope scope, ParseSystemdName(cgroups_path));
  const auto until = std::chrono::steady_clock::now() + kEndOfKilled;
  while (HasProcesses(PathOfScope(scope))) {
    if (std::chrono::steady_clock::now() >= until) return absl::OkStatus();
    std::this_thread::sleep_for(kEndPoll);
  }
  return StopScope(scope.unit);
}

}  // namespace

absl::Status CheckCgroupsFor(bool is_only, const std::string& root) {
  const std::vector<CgroupHierarchy> all = FindHierarchies(root);
  const auto is_version1 = [](const CgroupHierarchy& one) { return !one.is_version2; };
  if (is_only || std::any_of(all.begin(), all.end(), is_version1)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "sandbox_cgroup_only = false needs cgroups of version 1, where a thread can be in one of its own; set it to "
      "true");
}

absl::Status SandboxCgroup::Enter() {
  RETURN_IF_ERROR(CheckCgroupsFor(options_.is_only, options_.root));
  std::string path = options_.path.empty() ? "/" + options_.sandbox_id : options_.path;
  ASSIGN_OR_RETURN(const std::string origin, ReadFile("/proc/self/cgroup", kSmallFileMax));
  if (IsSystemdName(path)) {
    auto scope = ParseSystemdName(path);
    if (!scope.ok()) return Annotate(scope.status(), absl::StrCat("linux.cgroupsPath \"", path, "\""));
    const std::string path_of_systemd = std::exchange(path, PathOfScope(*scope));
    RETURN_IF_ERROR(WriteFileAtomically(AskedRecord(options_.sandbox_id), path_of_systemd, 0600));
    const absl::Status started = StartScope(*scope, ::getpid());
    if (started.ok()) {
      // Only now, or `delete` would end another's scope of that name.
      scope_ = scope->unit;
      RETURN_IF_ERROR(WriteFileAtomically(ScopeRecord(options_.sandbox_id), scope_, 0600));
    }
    ::unlink(AskedRecord(options_.sandbox_id).c_str());
    RETURN_IF_ERROR(started);
  }
  ASSIGN_OR_RETURN(pod_, PodCgroup::Make(options_.root, path, PodRecord(options_.sandbox_id), origin));
  if (!options_.is_only) {
    const std::string overhead = kOverhead + options_.sandbox_id;
    ASSIGN_OR_RETURN(overhead_, PodCgroup::Make(options_.root, overhead, OverheadRecord(options_.sandbox_id), origin));
  }
  if (!options_.moves_shim) return absl::OkStatus();
  return Annotate((overhead_ ? overhead_ : pod_)->Add(::getpid()), "moving the shim into the pod's cgroup");
}

absl::Status SandboxCgroup::Take(pid_t machine, const std::vector<pid_t>& daemons) {
  const PodCgroup& most = overhead_ ? *overhead_ : *pod_;
  absl::Status status = most.Add(machine);
  if (status.ok() && overhead_ != nullptr) status = AddProcessors(*pod_, machine);
  for (pid_t daemon : daemons) {
    for (pid_t pid : WithDescendants(daemon)) status.Update(most.Add(pid));
  }
  return Annotate(status, "moving the machine into the pod's cgroup");
}

absl::Status SandboxCgroup::TakeProcessors(pid_t machine) {
  if (overhead_ == nullptr || pod_ == nullptr) return absl::OkStatus();  // they begin where the machine is
  return Annotate(AddProcessors(*pod_, machine), "moving new processors into the pod's cgroup");
}

std::string SandboxCgroup::WarningOfLimit(uint32_t machine_mib) const {
  // Without sandbox_cgroup_only memory counts in the other one, which has no limit.
  if (pod_ == nullptr || overhead_ != nullptr) return "";
  const uint64_t limit = pod_->MemoryLimit() >> 20;
  const uint64_t wanted = machine_mib + kHostMemoryMib;
  if (limit >= wanted) return "";
  return absl::StrCat(
      "the pod's cgroup on the host may have ", limit, " MiB, the machine and its daemons may come to ", wanted,
      ": the host's kernel ends the machine then; raise the limit (the RuntimeClass's overhead.podFixed.memory) "
      "by ",
      wanted - limit, " MiB, or set sandbox_cgroup_only = false");
}

bool SandboxCgroup::HasRoomFor(uint64_t bytes) const {
  return pod_ == nullptr || overhead_ != nullptr || pod_->MemoryLimit() >= (kHostMemoryMib << 20) + bytes;
}

std::string SandboxCgroup::ReasonOfEnd() const {
  if (pod_ == nullptr || pod_->OomKills() == 0) return "";
  return "the host's kernel has ended a process of the pod, for its cgroup on the host had no more memory "
         "(overhead_memory, "
         "the RuntimeClass's overhead)";
}

absl::Status SandboxCgroup::Leave() {
  absl::Status status;
  if (!scope_.empty()) {
    if (pod_ != nullptr) pod_->LetGo();
    status.Update(StopScope(scope_));
  }
  if (pod_ != nullptr) status.Update(pod_->Remove());
  if (overhead_ != nullptr) status.Update(overhead_->Remove());
  return status;
}

absl::Status RemoveSandboxCgroup(const std::string& sandbox_id) {
  absl::Status status;
  auto scope = ReadFile(ScopeRecord(sandbox_id), kSmallFileMax);
  auto asked = ReadFile(AskedRecord(sandbox_id), kSmallFileMax);
  if (scope.ok()) {
    status.Update(StopScope(*scope));
  } else if (asked.ok()) {
    status.Update(StopAskedScope(*asked));
  }
  status.Update(RemoveRecordedCgroup(kCgroupRoot, PodRecord(sandbox_id)));
  status.Update(RemoveRecordedCgroup(kCgroupRoot, OverheadRecord(sandbox_id)));
  return status;
}

}  // namespace kata::virtcontainers
