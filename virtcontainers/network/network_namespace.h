// SPDX-License-Identifier: Apache-2.0
// The network namespace that a sandbox's machine runs in, held open for as long as the sandbox lives: what its caller
// unmounts meanwhile stays reachable. Blocks: pool threads.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::virtcontainers {

class NetworkNamespace {
 public:
  // Opens `path`, or makes a new one with its loopback up when it is empty; that one lives as long as a process or
  // descriptor uses it.
  static absl::StatusOr<std::shared_ptr<const NetworkNamespace>> Open(const std::string& path);

  // Runs `job` in it, on a thread of its own.
  absl::Status Run(const std::function<absl::Status()>& job) const;
  // Whether it is that of this process, where the host's programs run.
  bool IsHosts() const;
  int fd() const { return fd_.get(); }

 private:
  explicit NetworkNamespace(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace kata::virtcontainers
