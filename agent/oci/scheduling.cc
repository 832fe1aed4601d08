// SPDX-License-Identifier: Apache-2.0
#include "agent/oci/scheduling.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include <absl/strings/ascii.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "agent/base/errors.h"
#include "proto/base/fd.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

namespace kata::agent {
namespace {

constexpr size_t kFileSizeMax = 1u << 16;
// The kernel's headers for these (linux/sched.h, linux/sched/types.h, linux/ioprio.h) do not go together with the C
// library's or with C++.
constexpr uint32_t kSchedIso = 4;
constexpr uint32_t kSchedDeadline = 6;
constexpr int kIoRealtime = 1;
constexpr int kIoBestEffort = 2;
constexpr int kIoIdle = 3;
constexpr int kIoClassShift = 13;
constexpr int kIoWhoProcess = 1;
struct SchedAttr {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};
static_assert(sizeof(SchedAttr) == 48);  // the system call's first version

template <typename T>
absl::StatusOr<T> Named(const std::map<std::string, T>& names, const std::string& name, const char* field) {
  auto found = names.find(name);
  if (found != names.end()) return found->second;
  return absl::InvalidArgumentError(absl::StrCat(field, " \"", name, "\": not known"));
}

}  // namespace

absl::StatusOr<uint32_t> SchedulerPolicy(const std::string& name) {
  static const std::map<std::string, uint32_t> kNames = {
      {"SCHED_OTHER", SCHED_OTHER},      {"SCHED_FIFO", SCHED_FIFO}, {"SCHED_RR", SCHED_RR},
      {"SCHED_BATCH", SCHED_BATCH},      {"SCHED_ISO", kSchedIso},   {"SCHED_IDLE", SCHED_IDLE},
      {"SCHED_DEADLINE", kSchedDeadline}};
  return Named(kNames, name, "process.scheduler.policy");
}

absl::StatusOr<uint64_t> SchedulerFlag(const std::string& name) {
  static const std::map<std::string, uint64_t> kNames = {
      {"SCHED_FLAG_RESET_ON_FORK", 0x01}, {"SCHED_FLAG_RECLAIM", 0x02},     {"SCHED_FLAG_DL_OVERRUN", 0x04},
      {"SCHED_FLAG_KEEP_POLICY", 0x08},   {"SCHED_FLAG_KEEP_PARAMS", 0x10}, {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
      {"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40}};
  return Named(kNames, name, "process.scheduler.flags");
}

absl::Status CheckScheduler(const Scheduler& s) {
  const bool is_realtime = s.policy == SCHED_FIFO || s.policy == SCHED_RR;
  if (s.nice < -20 || s.nice > 19)
    return absl::InvalidArgumentError(absl::StrCat("process.scheduler.nice ", s.nice, ": not in -20 to 19"));
  if (s.priority != 0 && !is_realtime)
    return absl::InvalidArgumentError(
        absl::StrCat("process.scheduler.priority ", s.priority, ": only with SCHED_FIFO and SCHED_RR"));
  if ((s.runtime != 0 || s.deadline != 0 || s.period != 0) && s.policy != kSchedDeadline)
    return absl::InvalidArgumentError("process.scheduler: runtime, deadline and period only with SCHED_DEADLINE");
  return absl::OkStatus();
}

absl::StatusOr<int> IoPriorityClass(const std::string& name) {
  static const std::map<std::string, int> kNames = {
      {"IOPRIO_CLASS_RT", kIoRealtime}, {"IOPRIO_CLASS_BE", kIoBestEffort}, {"IOPRIO_CLASS_IDLE", kIoIdle}};
  return Named(kNames, name, "process.ioPriority.class");
}

absl::StatusOr<std::vector<unsigned>> ParseCpuList(const std::string& text) {
  const absl::Status bad = absl::InvalidArgumentError(absl::StrCat("list of processors \"", text, "\": not one"));
  std::vector<bool> is_in(kCpusMax);
  for (absl::string_view part : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    const std::vector<absl::string_view> ends = absl::StrSplit(absl::StripAsciiWhitespace(part), '-');
    unsigned first = 0;
    unsigned last = 0;
    if (ends.size() > 2 || !absl::SimpleAtoi(ends.front(), &first) || !absl::SimpleAtoi(ends.back(), &last)) return bad;
    if (first > last || last >= kCpusMax) return bad;
    std::fill(is_in.begin() + first, is_in.begin() + last + 1, true);
  }
  std::vector<unsigned> out;
  for (unsigned cpu = 0; cpu < kCpusMax; ++cpu) {
    if (is_in[cpu]) out.push_back(cpu);
  }
  return out;
}

std::string CpuListText(const std::vector<unsigned>& cpus) {
  std::string out;
  for (size_t i = 0; i < cpus.size(); ++i) {
    size_t end = i;
    while (end + 1 < cpus.size() && cpus[end + 1] == cpus[end] + 1) ++end;
    absl::StrAppend(&out, out.empty() ? "" : ",", cpus[i]);
    if (end > i) absl::StrAppend(&out, "-", cpus[end]);
    i = end;
  }
  return out;
}

std::vector<unsigned> GuestCpus(const std::vector<unsigned>& wanted, const std::vector<unsigned>& guest) {
  if (guest.empty() || wanted.empty()) return wanted;
  std::vector<unsigned> out;
  const auto add = [&out](unsigned cpu) {
    if (std::find(out.begin(), out.end(), cpu) == out.end()) out.push_back(cpu);
  };
  for (unsigned cpu : wanted) {
    const bool is_here = std::binary_search(guest.begin(), guest.end(), cpu);
    add(is_here ? cpu : guest[cpu % guest.size()]);
  }
  for (size_t i = 0; i < guest.size() && out.size() < wanted.size(); ++i) add(guest[i]);
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<unsigned> OnlineCpus() {
  auto text = ReadFile("/sys/devices/system/cpu/online", kFileSizeMax);
  if (!text.ok()) return {};
  auto cpus = ParseCpuList(*text);
  return cpus.ok() ? *cpus : std::vector<unsigned>();
}

absl::Status SetScheduler(pid_t pid, const Scheduler& s) {
  SchedAttr attr{.size = sizeof(SchedAttr),
                 .policy = s.policy,
                 .flags = s.flags,
                 .nice = s.nice,
                 .priority = s.priority,
                 .runtime = s.runtime,
                 .deadline = s.deadline,
                 .period = s.period};
  if (::syscall(SYS_sched_setattr, pid, &attr, 0) != 0)
    return absl::InvalidArgumentError(ErrnoStatus(errno, "process.scheduler").message());
  return absl::OkStatus();
}

absl::Status SetIoPriority(pid_t pid, const IoPriority& priority) {
  const int value = (priority.io_class << kIoClassShift) | priority.priority;
  if (::syscall(SYS_ioprio_set, kIoWhoProcess, pid, value) != 0)
    return absl::InvalidArgumentError(ErrnoStatus(errno, "process.ioPriority").message());
  return absl::OkStatus();
}

absl::Status SetAffinity(const std::vector<unsigned>& cpus) {
  if (cpus.empty()) return absl::OkStatus();
  const std::string what = absl::StrCat("process.execCPUAffinity: processors ", CpuListText(cpus));
  using Set = std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)>;
  Set set(CPU_ALLOC(kCpusMax), [](cpu_set_t* s) { CPU_FREE(s); });
  const size_t size = CPU_ALLOC_SIZE(kCpusMax);
  if (set == nullptr) return absl::ResourceExhaustedError(what);
  CPU_ZERO_S(size, set.get());
  for (unsigned cpu : cpus) CPU_SET_S(cpu, size, set.get());
  if (::sched_setaffinity(0, size, set.get()) != 0)
    return absl::InvalidArgumentError(ErrnoStatus(errno, what).message());
  return absl::OkStatus();
}

absl::Status EnterTimeNamespace(const std::map<std::string, TimeOffset>& offsets) {
  if (::unshare(CLONE_NEWTIME) != 0) return SystemError(errno, "making the time namespace");
  std::string text;
  for (const auto& [clock, offset] : offsets)
    absl::StrAppend(&text, clock, " ", offset.secs, " ", offset.nanosecs, "\n");
  if (!text.empty()) {
    absl::Status status = WriteExisting("/proc/self/timens_offsets", text);
    if (!status.ok()) return absl::InvalidArgumentError(absl::StrCat("linux.timeOffsets: ", status.message()));
  }
  // Only children would be born into it; this process is the container's.
  UniqueFd made(::open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC));
  if (!made.valid() || ::setns(made.get(), CLONE_NEWTIME) != 0)
    return SystemError(errno, "entering the time namespace");
  return absl::OkStatus();
}

}  // namespace kata::agent
