// SPDX-License-Identifier: Apache-2.0
// Processors and memory that the machine gets while it runs, and memory that it gives back: taken into use, and what
// containers may use follows. Io thread only; one call at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "agent/cgroup/reserve.h"
#include "agent/storage/uevents.h"
#include "proto/base/coro.h"

namespace kata::agent {

// For what the machine has got to appear, and for memory to be given back: that may not be possible.
inline constexpr std::chrono::seconds kResizeTimeout{10};
inline constexpr std::chrono::seconds kGiveBackTimeout{3};

struct MachineSizeOptions {
  std::string processors = "/sys/devices/system/cpu";
  std::string meminfo = "/proc/meminfo";
  std::string threads = "/proc/sys/kernel/threads-max";
  std::string cgroup;  // of all containers
  std::chrono::nanoseconds timeout = kResizeTimeout;
  std::chrono::nanoseconds give_back_timeout = kGiveBackTimeout;
};

class MachineSize {
 public:
  struct Size {
    uint32_t processors = 0;
    uint64_t memory_added = 0;  // bytes
  };

  // `uevents` outlives it. What there is now is what the machine has started with.
  MachineSize(Uevents* uevents, MachineSizeOptions options);

  // Returns once that many processors are in use and there is so much memory more than at the start, and no more memory
  // than that if it can be helped. The bound of all containers is then what it would be in a machine of that size.
  Co<absl::StatusOr<Size>> Follow(Size wanted);

  // So many bytes of the machine's memory are huge pages, which count for no bound.
  absl::Status SetHugepages(uint64_t bytes);

 private:
  absl::Status UseProcessors(uint32_t count) const;
  Size Now() const;
  absl::Status Rebound(const Size& size);

  Uevents* uevents_;
  MachineSizeOptions options_;
  uint64_t memory_at_start_;
  uint64_t threads_at_start_ = 0;
  Bounds bounds_at_start_;
  bool has_bounds_ = false;
  uint64_t hugepages_ = 0;  // bytes
};

// How many numbers a list of the kernel's names, as in "0-3,7"; 0 for what is none.
uint32_t CountOfList(const std::string& list);

}  // namespace kata::agent
