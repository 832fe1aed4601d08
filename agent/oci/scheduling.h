// SPDX-License-Identifier: Apache-2.0
// How a process is scheduled: policy, I/O priority, processors, and when the clocks of its time namespace began. Policy
// and priority are set by the agent, since a container's root may not raise them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace kata::agent {

// Processors in one list.
inline constexpr unsigned kCpusMax = 8192;

struct Scheduler {
  uint32_t policy = 0;  // SCHED_…
  uint64_t flags = 0;   // SCHED_FLAG_…
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0, deadline = 0, period = 0;  // ns, of SCHED_DEADLINE
};

struct IoPriority {
  int io_class = 0;  // IOPRIO_CLASS_…
  int priority = 0;
};

struct TimeOffset {
  int64_t secs = 0;
  uint32_t nanosecs = 0;
};

// The spec's names. InvalidArgument for one that is not known, and for values that the policy does not have.
absl::StatusOr<uint32_t> SchedulerPolicy(const std::string& name);
absl::StatusOr<uint64_t> SchedulerFlag(const std::string& name);
absl::Status CheckScheduler(const Scheduler& scheduler);
absl::StatusOr<int> IoPriorityClass(const std::string& name);

// A list as the kernel writes it ("0-3,7"); InvalidArgument for another text or a number from kCpusMax on.
absl::StatusOr<std::vector<unsigned>> ParseCpuList(const std::string& text);
std::string CpuListText(const std::vector<unsigned>& cpus);
// A list that was made for the host's processors, as one of the guest's, which are `guest`: as many of them as were
// asked for, all when there are not so many. Different sets of the host stay different ones where they can, and a set
// that the guest has stays what it is.
std::vector<unsigned> GuestCpus(const std::vector<unsigned>& wanted, const std::vector<unsigned>& guest);
std::vector<unsigned> OnlineCpus();

absl::Status SetScheduler(pid_t pid, const Scheduler& scheduler);
absl::Status SetIoPriority(pid_t pid, const IoPriority& priority);
// Of the calling process, by the guest's numbers; nothing for none.
absl::Status SetAffinity(const std::vector<unsigned>& cpus);

// Of the child: a time namespace of its own, entered at once. Needs the agent's /proc.
absl::Status EnterTimeNamespace(const std::map<std::string, TimeOffset>& offsets);

}  // namespace kata::agent
