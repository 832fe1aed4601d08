// SPDX-License-Identifier: Apache-2.0
// Huge pages of the guest: the kernel keeps as many for them as the containers may use together, and what is kept is
// nobody's ordinary memory. Io thread only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <absl/status/status.h>

#include "agent/oci/spec.h"

namespace kata::agent {

inline constexpr char kSysHugepages[] = "/sys/kernel/mm/hugepages";

class Hugepages {
 public:
  explicit Hugepages(std::string directory = kSysHugepages, std::string meminfo = "/proc/meminfo")
      : directory_(std::move(directory)), meminfo_(std::move(meminfo)) {}

  // `container` may use so many; sizes that it does not name stay as they were for it, and those that the guest does
  // not have are nobody's. ResourceExhausted when the kernel does not find so many in one piece each; then all is as
  // before.
  absl::Status Reserve(const void* container, const std::vector<HugepageLimit>& limits);
  // The container is gone, and its pages with it. Idempotent.
  void Release(const void* container);
  // In all pools.
  uint64_t bytes() const { return bytes_; }

 private:
  using Limits = std::map<uint64_t, uint64_t>;  // bytes by the size of a page in KiB
  absl::Status Fit();
  uint64_t WantedPages(uint64_t page_kib) const;
  uint64_t MemoryBytes(absl::string_view key) const;

  const std::string directory_;
  const std::string meminfo_;
  std::map<const void*, Limits> containers_;  // whose names others may have by now
  std::map<uint64_t, uint64_t> pools_;        // pages by the size of one in KiB, as far as they were asked for here
  uint64_t bytes_ = 0;
};

}  // namespace kata::agent
