// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup/freezer.h"

#include "agent/base/errors.h"
#include "agent/cgroup/stats.h"
#include "proto/base/fd.h"

namespace kata::agent {

void ThawSoon(const std::string& cgroup) {
  static_cast<void>(WriteExisting(absl::StrCat(cgroup, "/cgroup.freeze"), "0").ok());
}

Co<absl::Status> SetFrozen(FileWatcher* watcher, FreezeTarget target) {
  const std::string events = absl::StrCat(target.cgroup, "/cgroup.events");
  const std::string what = target.is_frozen ? "freezing" : "thawing";
  auto watch = watcher->Watch(events);
  absl::Status status = WriteExisting(absl::StrCat(target.cgroup, "/cgroup.freeze"), target.is_frozen ? "1" : "0");
  if (!status.ok()) co_return absl::InternalError(absl::StrCat(what, ": ", status.message()));
  const auto deadline = std::chrono::steady_clock::now() + target.timeout;
  for (;;) {
    if (ReadCounter(events, "frozen") == (target.is_frozen ? 1u : 0u)) co_return absl::OkStatus();
    const auto left = deadline - std::chrono::steady_clock::now();
    if (left.count() <= 0) break;
    co_await watch->WaitFor(left);
  }
  if (target.is_frozen) ThawSoon(target.cgroup);
  co_return absl::DeadlineExceededError(
      absl::StrCat(what, " cgroup \"", target.cgroup, "\": not done after ",
                   std::chrono::duration_cast<std::chrono::milliseconds>(target.timeout).count(), " ms"));
}

}  // namespace kata::agent
