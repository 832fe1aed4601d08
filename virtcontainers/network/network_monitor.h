// SPDX-License-Identifier: Apache-2.0
// Says that something of a network namespace has changed: interfaces, addresses, routes. What it is, one reads anew
// (ReadPodNetwork). Any thread, one at a time.
#pragma once

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::virtcontainers {

class NetworkMonitor {
 public:
  // Of the calling thread's namespace, from now on.
  static absl::StatusOr<NetworkMonitor> Open();

  // Readable once something has changed since the last TakeNews.
  int fd() const { return fd_.get(); }
  // Whether something has; the kernel has said so before the call returns that changed it. Does not block.
  bool TakeNews();

 private:
  explicit NetworkMonitor(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace kata::virtcontainers
