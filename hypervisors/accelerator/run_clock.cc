// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/accelerator/run_clock.h"

#include <dirent.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "proto/base/fd.h"

namespace kata::hypervisors {
namespace {

constexpr size_t kLineMax = 256;

// The longest that a thread of the process has been ready without a CPU: the second number of its schedstat.
std::chrono::nanoseconds LongestWait(pid_t pid) {
  const std::string tasks = absl::StrCat("/proc/", pid, "/task");
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(tasks.c_str()), closedir);
  int64_t longest = 0;
  while (const dirent* entry = directory == nullptr ? nullptr : readdir(directory.get())) {
    if (entry->d_name[0] == '.') continue;
    const auto text = ReadFile(absl::StrCat(tasks, "/", entry->d_name, "/schedstat"), kLineMax);
    if (!text.ok()) continue;
    const std::vector<std::string> words = absl::StrSplit(*text, ' ');
    int64_t waited = 0;
    if (words.size() > 1 && absl::SimpleAtoi(words[1], &waited)) longest = std::max(longest, waited);
  }
  return std::chrono::nanoseconds(longest);
}

}  // namespace

RunClock::RunClock(pid_t pid) : pid_(pid), begin_(std::chrono::steady_clock::now()), waited_(LongestWait(pid)) {}

std::chrono::nanoseconds RunClock::Elapsed() const {
  const std::chrono::nanoseconds passed = std::chrono::steady_clock::now() - begin_;
  const std::chrono::nanoseconds waited = LongestWait(pid_) - waited_;
  return passed - std::clamp(waited, std::chrono::nanoseconds(0), passed);
}

}  // namespace kata::hypervisors
