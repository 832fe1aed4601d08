// SPDX-License-Identifier: Apache-2.0
#include "agent/machine_size.h"

#include <algorithm>

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "agent/base/meminfo.h"
#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::agent {
namespace {

constexpr size_t kFileSizeMax = 1u << 16;
constexpr uint32_t kProcessorsMax = 4096;
// Memory comes in pieces that no uevent tells of.
constexpr std::chrono::milliseconds kLook{20};
// The kernel keeps pages of a step for itself.
constexpr uint64_t kTolerance = 4u << 20;

std::string ReadText(const std::string& path) {
  auto text = ReadFile(path, kFileSizeMax);
  return text.ok() ? std::string(absl::StripAsciiWhitespace(*text)) : "";
}

uint64_t MemoryTotal(const std::string& meminfo) {
  auto text = ReadMeminfo(meminfo);
  return text.ok() ? MeminfoBytes(*text, "MemTotal:") : 0;
}

bool ParseRange(absl::string_view text, uint32_t& first, uint32_t& last) {
  const std::vector<absl::string_view> ends = absl::StrSplit(text, '-');
  if (ends.size() > 2 || !absl::SimpleAtoi(ends.front(), &first) || !absl::SimpleAtoi(ends.back(), &last)) return false;
  return first <= last && last < kProcessorsMax;
}

std::vector<uint32_t> NumbersOf(const std::string& list) {
  std::vector<uint32_t> out;
  for (absl::string_view part : absl::StrSplit(list, ',', absl::SkipEmpty())) {
    uint32_t first = 0;
    uint32_t last = 0;
    if (!ParseRange(part, first, last)) return {};
    for (uint32_t number = first; number <= last; ++number) out.push_back(number);
  }
  return out;
}

}  // namespace

uint32_t CountOfList(const std::string& list) { return static_cast<uint32_t>(NumbersOf(list).size()); }

MachineSize::MachineSize(Uevents* uevents, MachineSizeOptions options)
    : uevents_(uevents), options_(std::move(options)), memory_at_start_(MemoryTotal(options_.meminfo)) {}

// The kernel leaves it to user space to take a processor into use.
absl::Status MachineSize::UseProcessors(uint32_t count) const {
  uint32_t used = 0;
  for (uint32_t number : NumbersOf(ReadText(absl::StrCat(options_.processors, "/present")))) {
    const std::string switch_file = absl::StrCat(options_.processors, "/cpu", number, "/online");
    const std::string wanted = used++ < count ? "1" : "0";
    // The first processor may have none.
    const std::string now = ReadText(switch_file);
    if (!now.empty() && now != wanted) RETURN_IF_ERROR(WriteExisting(switch_file, wanted));
  }
  return absl::OkStatus();
}

MachineSize::Size MachineSize::Now() const {
  const uint64_t total = MemoryTotal(options_.meminfo);
  return {CountOfList(ReadText(absl::StrCat(options_.processors, "/online"))),
          total - std::min(total, memory_at_start_)};
}

Co<absl::StatusOr<MachineSize::Size>> MachineSize::Follow(Size wanted) {
  const auto begin = std::chrono::steady_clock::now();
  Size now;
  for (;;) {
    CO_RETURN_IF_ERROR(UseProcessors(wanted.processors));
    now = Now();
    const bool is_enough = now.processors >= wanted.processors && now.memory_added + kTolerance >= wanted.memory_added;
    const bool is_too_much = now.memory_added > wanted.memory_added + kTolerance;
    if (is_enough && !is_too_much) break;
    const auto waited = std::chrono::steady_clock::now() - begin;
    if (is_enough && waited >= options_.give_back_timeout) break;
    if (waited >= options_.timeout) {
      co_return absl::DeadlineExceededError(absl::StrCat("waiting for ", wanted.processors, " processors and ",
                                                         wanted.memory_added, " bytes of memory more: there are ",
                                                         now.processors, " and ", now.memory_added));
    }
    co_await uevents_->WaitFor(kLook);
  }
  CO_RETURN_IF_ERROR(Rebound(now));
  co_return now;
}

absl::Status MachineSize::SetHugepages(uint64_t bytes) {
  if (bytes == hugepages_) return absl::OkStatus();
  hugepages_ = bytes;
  return Rebound(Now());
}

absl::Status MachineSize::Rebound(const Size& size) {
  if (!has_bounds_) {
    bounds_at_start_ = ReadBounds(options_.cgroup);
    if (!absl::SimpleAtoi(ReadText(options_.threads), &threads_at_start_)) threads_at_start_ = 0;
    has_bounds_ = true;
  }
  Bounds bounds = bounds_at_start_;
  if (bounds.memory != 0) {
    bounds.memory += size.memory_added;
    bounds.memory -= std::min(bounds.memory / 2, hugepages_);
  }
  // As the kernel reckons at its start.
  const uint64_t times_1024 = memory_at_start_ == 0 ? 1024 : 1024 + size.memory_added / (memory_at_start_ / 1024);
  if (threads_at_start_ != 0)
    RETURN_IF_ERROR(WriteExisting(options_.threads, absl::StrCat(threads_at_start_ * times_1024 / 1024)));
  bounds.processes = bounds.processes * times_1024 / 1024;
  return MoveBounds(options_.cgroup, bounds);
}

}  // namespace kata::agent
