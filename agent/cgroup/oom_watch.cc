// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup/oom_watch.h"

#include <algorithm>

#include <absl/strings/str_cat.h>

#include "agent/cgroup/stats.h"

namespace kata::agent {
namespace {

// Only a wait without end needs an upper bound of a timer.
constexpr std::chrono::hours kLongWait{24};

}  // namespace

OomWatch::OomWatch(FileWatcher* watcher, const std::string& cgroup)
    : path_(absl::StrCat(cgroup, "/memory.events")), watch_(watcher->Watch(path_)) {}

uint64_t OomWatch::Kills() {
  // Another container may have the name, and so the path, by now.
  if (!is_closed_) kills_ = std::max(kills_, ReadCounter(path_, "oom_kill"));
  return kills_;
}

Co<absl::StatusOr<uint64_t>> OomWatch::Wait(uint64_t seen) {
  auto self = shared_from_this();
  for (;;) {
    if (is_closed_) co_return absl::NotFoundError("waiting for OOM kills: the container is gone");
    if (const uint64_t kills = Kills(); kills > seen) co_return kills;
    co_await watch_->WaitFor(kLongWait);
  }
}

void OomWatch::Close() {
  is_closed_ = true;
  watch_->Wake();
}

}  // namespace kata::agent
