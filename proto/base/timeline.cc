// SPDX-License-Identifier: Apache-2.0
#include "proto/base/timeline.h"

#include <fcntl.h>
#include <time.h>

#include <cerrno>
#include <mutex>

#include "proto/base/fd.h"
#include "proto/base/log.h"
#include "proto/base/status.h"

namespace kata::timeline {
namespace {

struct Kept {
  std::mutex mutex;
  std::string early;  // until there is a file
  std::vector<Taken> steps;
  UniqueFd file;
};

// Never freed: threads may take steps until exit.
Kept& TheKept() {
  static Kept& kept = *new Kept;
  return kept;
}

int64_t Now() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

std::vector<Taken> Steps() {
  Kept& kept = TheKept();
  const std::lock_guard<std::mutex> lock(kept.mutex);
  return kept.steps;
}

void Write(std::string_view step) {
  const std::string message = fmt::format("timeline: {}", step);
  log::Write(log::Level::kInfo, message);
  Kept& kept = TheKept();
  const std::lock_guard<std::mutex> lock(kept.mutex);
  if (kept.steps.size() >= kStepsMax) return;
  kept.steps.push_back({Now(), std::string(step)});
  const std::string line = log::Line(log::Level::kInfo, message);
  if (!kept.file.valid()) {
    kept.early += line;
    return;
  }
  // A full disk costs the line and nothing else.
  WriteAll(kept.file.get(), line).IgnoreError();
}

absl::Status KeepIn(const std::string& path) {
  Kept& kept = TheKept();
  const std::lock_guard<std::mutex> lock(kept.mutex);
  if (kept.file.valid()) return absl::OkStatus();
  kept.file.reset(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!kept.file.valid()) return ErrnoStatus(errno, absl::StrCat("creating \"", path, "\""));
  const absl::Status written = WriteAll(kept.file.get(), kept.early);
  kept.early.clear();
  kept.early.shrink_to_fit();
  return written;
}

}  // namespace kata::timeline
