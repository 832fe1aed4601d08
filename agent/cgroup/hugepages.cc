// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup/hugepages.h"

#include <unistd.h>

#include <algorithm>

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>

#include "agent/base/meminfo.h"
#include "proto/base/fd.h"
#include "proto/base/log.h"
#include "proto/base/status.h"

namespace kata::agent {
namespace {

constexpr uint64_t kKiB = 1024;
// What engines write for no limit, which is no wish for pages either.
constexpr uint64_t kNoLimit = uint64_t{1} << 60;
constexpr size_t kNumberSizeMax = 64;

// "2MB" in KiB, as the kernel names the size's directory; 0 for what is none.
uint64_t PageKib(const std::string& size) {
  uint64_t number = 0;
  const bool is_number = size.size() > 2 && absl::SimpleAtoi(size.substr(0, size.size() - 2), &number);
  if (!is_number || number > kNoLimit / kKiB / kKiB) return 0;
  if (absl::EndsWith(size, "KB")) return number;
  if (absl::EndsWith(size, "MB")) return number * kKiB;
  return absl::EndsWith(size, "GB") ? number * kKiB * kKiB : 0;
}

}  // namespace

uint64_t Hugepages::WantedPages(uint64_t page_kib) const {
  uint64_t pages = 0;
  for (const auto& [container, limits] : containers_) {
    const auto found = limits.find(page_kib);
    if (found != limits.end()) pages += (found->second + page_kib * kKiB - 1) / (page_kib * kKiB);
  }
  return pages;
}

uint64_t Hugepages::MemoryBytes(absl::string_view key) const {
  const auto meminfo = ReadMeminfo(meminfo_);
  return meminfo.ok() ? MeminfoBytes(*meminfo, key) : kNoLimit;
}

absl::Status Hugepages::Fit() {
  absl::Status status;
  bytes_ = 0;
  for (auto& [page_kib, pages] : pools_) {
    const std::string path = absl::StrCat(directory_, "/hugepages-", page_kib, "kB/nr_hugepages");
    const uint64_t wanted = WantedPages(page_kib);
    if (wanted != pages) {
      // Not tried where it cannot be: an emulated guest's kernel clears each page that it takes (init_on_alloc), and
      // all of its memory takes longer than a caller waits.
      const uint64_t tried = std::min(wanted, MemoryBytes("MemTotal:") / (page_kib * kKiB));
      if (tried == wanted) status.Update(WriteExisting(path, absl::StrCat(wanted)));
      auto text = ReadFile(path, kNumberSizeMax);
      uint64_t there = 0;
      if (!text.ok() || !absl::SimpleAtoi(absl::StripAsciiWhitespace(*text), &there)) there = 0;
      pages = there;
      if (there < wanted) {
        const uint64_t room = tried == wanted ? there : there + MemoryBytes("MemAvailable:") / (page_kib * kKiB);
        status.Update(absl::ResourceExhaustedError(
            absl::StrCat("linux.resources.hugepageLimits: the guest has room for ", room, " pages of ", page_kib,
                         " KiB, the containers of the pod may use ", wanted,
                         ": give the pod more memory (default_memory, default_maxmemory) or smaller limits")));
      }
    }
    bytes_ += pages * page_kib * kKiB;
  }
  return status;
}

absl::Status Hugepages::Reserve(const void* container, const std::vector<HugepageLimit>& limits) {
  const auto found = containers_.find(container);
  const Limits before = found != containers_.end() ? found->second : Limits();
  Limits after = before;
  for (const HugepageLimit& limit : limits) {
    const uint64_t page_kib = PageKib(limit.page_size);
    const std::string pool = absl::StrCat(directory_, "/hugepages-", page_kib, "kB");
    if (page_kib == 0 || ::access(pool.c_str(), F_OK) != 0) continue;
    after[page_kib] = limit.limit < kNoLimit ? limit.limit : 0;
    pools_.try_emplace(page_kib, 0);
  }
  if (after == before) return absl::OkStatus();
  containers_[container] = std::move(after);
  absl::Status fitted = Fit();
  if (fitted.ok()) return fitted;
  containers_[container] = before;
  Fit().IgnoreError();  // less than there was is found again
  return fitted;
}

void Hugepages::Release(const void* container) {
  if (containers_.erase(container) == 0) return;
  const absl::Status fitted = Fit();
  if (!fitted.ok()) log::Warn("giving back huge pages: {}", fitted.message());
}

}  // namespace kata::agent
