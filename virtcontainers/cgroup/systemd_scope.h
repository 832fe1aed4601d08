// SPDX-License-Identifier: Apache-2.0
// A scope of systemd, which callers with its cgroup driver name as `slice:prefix:name` (runc's form of
// linux.cgroupsPath). systemd makes it and forgets it with its last process. Blocking; any thread.
#pragma once

#include <sys/types.h>

#include <string>

#include <absl/status/statusor.h>

namespace kata::virtcontainers {

inline constexpr char kSystemdSocket[] = "/run/systemd/private";  // systemd's own, which root may use without a bus

struct SystemdScope {
  std::string slice;  // "kubepods-pod1.slice"
  std::string unit;   // "cri-containerd-ID.scope"
};

// Whether a linux.cgroupsPath is of that form.
bool IsSystemdName(const std::string& cgroups_path);
// InvalidArgument says what is wrong in it.
absl::StatusOr<SystemdScope> ParseSystemdName(const std::string& cgroups_path);
// Where the scope is in a hierarchy: "kubepods.slice/kubepods-pod1.slice/cri-containerd-ID.scope".
std::string PathOfScope(const SystemdScope& scope);

// Starts it with `pid` as its first process, delegated to its processes, with accounting. Returns when it is there.
absl::Status StartScope(const SystemdScope& scope, pid_t pid, const std::string& socket = kSystemdSocket);

// Ends one, which kills what is in it; else systemd may not see that it is empty. OK when there is none.
absl::Status StopScope(const std::string& unit, const std::string& socket = kSystemdSocket);

}  // namespace kata::virtcontainers
