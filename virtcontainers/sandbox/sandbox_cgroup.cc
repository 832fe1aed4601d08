// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/sandbox_cgroup.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>

#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"
#include "virtcontainers/cgroup/systemd_scope.h"
#include "virtcontainers/paths.h"

namespace kata::virtcontainers {
namespace {

constexpr size_t kSmallFileMax = 64u << 10;  // of /proc
constexpr size_t kThreadsMax = 4096;
constexpr int kGenerationsMax = 4;  // of a daemon that makes namespaces before it serves
constexpr char kOverhead[] = "kata_overhead/";
constexpr char kVcpuThread[] = "CPU ";  // QEMU's name of one: "CPU 0/KVM"

std::string PodRecord(const std::string& sandbox_id) { return RuntimeDirectory(sandbox_id) + "/cgroup"; }
std::string ScopeRecord(const std::string& sandbox_id) { return RuntimeDirectory(sandbox_id) + "/scope"; }
std::string OverheadRecord(const std::string& sandbox_id) { return RuntimeDirectory(sandbox_id) + "/cgroup-overhead"; }

std::vector<pid_t> Numbers(const std::string& text) {
  std::vector<pid_t> out;
  for (absl::string_view word : absl::StrSplit(text, ' ', absl::SkipWhitespace())) {
    pid_t number = 0;
    if (absl::SimpleAtoi(word, &number)) out.push_back(number);
  }
  return out;
}

std::vector<pid_t> ThreadsOf(pid_t pid) {
  std::vector<pid_t> out;
  std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(absl::StrCat("/proc/", pid, "/task").c_str()), ::closedir);
  if (entries == nullptr) return out;
  while (const dirent* entry = ::readdir(entries.get())) {
    pid_t tid = 0;
    if (out.size() < kThreadsMax && absl::SimpleAtoi(entry->d_name, &tid)) out.push_back(tid);
  }
  return out;
}

absl::Status AddWithChildren(const PodCgroup& cgroup, pid_t pid, int generations) {
  RETURN_IF_ERROR(cgroup.Add(pid));
  if (generations == 0) return absl::OkStatus();
  for (pid_t tid : ThreadsOf(pid)) {
    auto children = ReadFile(absl::StrCat("/proc/", pid, "/task/", tid, "/children"), kSmallFileMax);
    if (!children.ok()) continue;
    for (pid_t child : Numbers(*children)) RETURN_IF_ERROR(AddWithChildren(cgroup, child, generations - 1));
  }
  return absl::OkStatus();
}

absl::Status AddProcessors(const PodCgroup& cgroup, pid_t machine) {
  for (pid_t tid : ThreadsOf(machine)) {
    auto name = ReadFile(absl::StrCat("/proc/", machine, "/task/", tid, "/comm"), kSmallFileMax);
    if (name.ok() && absl::StartsWith(*name, kVcpuThread)) RETURN_IF_ERROR(cgroup.AddThread(tid));
  }
  return absl::OkStatus();
}

bool HasVersion1(const std::string& root) {
  const std::vector<CgroupHierarchy> all = FindHierarchies(root);
  return std::any_of(all.begin(), all.end(), [](const CgroupHierarchy& one) { return !one.is_version2; });
}

}  // namespace

absl::Status SandboxCgroup::Enter() {
  if (!options_.is_only && !HasVersion1(options_.root)) {
    return absl::FailedPreconditionError(
        "sandbox_cgroup_only = false needs cgroups of version 1, where a thread can be in one of its own; set it to "
        "true");
  }
  std::string path = options_.path.empty() ? "/" + options_.sandbox_id : options_.path;
  ASSIGN_OR_RETURN(const std::string origin, ReadFile("/proc/self/cgroup", kSmallFileMax));
  if (IsSystemdName(path)) {
    auto scope = ParseSystemdName(path);
    if (!scope.ok()) return Annotate(scope.status(), absl::StrCat("linux.cgroupsPath \"", path, "\""));
    path = PathOfScope(*scope);
    scope_ = scope->unit;
    // Known to `delete` before it is there.
    RETURN_IF_ERROR(WriteFileAtomically(ScopeRecord(options_.sandbox_id), scope_, 0600));
    absl::Status started = StartScope(*scope, ::getpid());
    if (!started.ok()) {
      // Another's, maybe: it must not end with this sandbox.
      scope_.clear();
      ::unlink(ScopeRecord(options_.sandbox_id).c_str());
      return started;
    }
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
  for (pid_t daemon : daemons) status.Update(AddWithChildren(most, daemon, kGenerationsMax));
  return Annotate(status, "moving the machine into the pod's cgroup");
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
  if (scope.ok()) status.Update(StopScope(*scope));
  status.Update(RemoveRecordedCgroup(kCgroupRoot, PodRecord(sandbox_id)));
  status.Update(RemoveRecordedCgroup(kCgroupRoot, OverheadRecord(sandbox_id)));
  return status;
}

}  // namespace kata::virtcontainers
