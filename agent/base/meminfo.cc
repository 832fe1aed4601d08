// SPDX-License-Identifier: Apache-2.0
#include "agent/base/meminfo.h"

#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>

#include "proto/base/fd.h"

namespace kata::agent {
namespace {

constexpr size_t kMeminfoSizeMax = 1u << 16;
constexpr uint64_t kKibibyte = 1024;

}  // namespace

absl::StatusOr<std::string> ReadMeminfo(const std::string& path) { return ReadFile(path, kMeminfoSizeMax); }

uint64_t MeminfoBytes(absl::string_view meminfo, absl::string_view key) {
  for (absl::string_view line : absl::StrSplit(meminfo, '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    uint64_t kibibytes = 0;
    if (words.size() >= 2 && words[0] == key && absl::SimpleAtoi(words[1], &kibibytes)) return kibibytes * kKibibyte;
  }
  return 0;
}

}  // namespace kata::agent
