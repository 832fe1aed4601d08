// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bootstrap/shim_process.h"

#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>

#include "proto/base/fd.h"
#include "proto/base/process.h"
#include "proto/base/status.h"

namespace kata::shimv2 {
namespace {

constexpr std::chrono::seconds kShimKillTimeout{1};  // SIGKILL ends a process at once unless it sits in the kernel
constexpr size_t kProcFileSizeMax = 4096;

// Field 22 of /proc/PID/stat, in clock ticks since boot; empty when there is no such process or it is a zombie.
std::string StartTime(pid_t pid) {
  auto stat = ReadFile(absl::StrCat("/proc/", pid, "/stat"), kProcFileSizeMax);
  if (!stat.ok()) return "";
  const size_t after_name = stat->rfind(')');
  if (after_name == std::string::npos) return "";
  const std::vector<std::string> fields = absl::StrSplit(stat->substr(after_name + 2), ' ');
  if (fields.size() < 20 || fields[0] == "Z") return "";
  return fields[19];
}

std::string PidFile(const std::string& bundle) { return absl::StrCat(bundle, "/shim.pid"); }

}  // namespace

absl::Status RecordShimProcess(const std::string& bundle, pid_t pid) {
  return WriteFileAtomically(PidFile(bundle), absl::StrCat(pid, " ", StartTime(pid)), 0600);
}

absl::Status EndShimProcess(const std::string& bundle, std::chrono::milliseconds grace) {
  auto text = ReadFile(PidFile(bundle), kProcFileSizeMax);
  if (!text.ok()) return absl::OkStatus();
  const std::vector<std::string> parts = absl::StrSplit(*text, ' ');
  int pid = 0;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &pid) || pid <= 1) return absl::OkStatus();
  const UniqueFd pidfd = OpenProcess(pid);
  if (!pidfd.valid() || StartTime(pid).empty() || StartTime(pid) != parts[1]) return absl::OkStatus();
  if (HasEnded(pidfd.get(), grace)) return absl::OkStatus();
  return KillProcess(pidfd.get(), absl::StrCat("shim process ", pid), kShimKillTimeout);
}

}  // namespace kata::shimv2
