// SPDX-License-Identifier: Apache-2.0
// The mount namespace of one sandbox. What its guest sees of the host is mounted there and nowhere else: no mount of
// it reaches the host's namespace, where it would keep others from removing their directories and would be taken for
// the host's own, and all of it is gone once nobody uses the namespace, however its users ended. Users are the shim,
// which holds it open, virtiofsd, and the machine where that reads the share itself (9p). Blocking; pool threads.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::virtcontainers {

class ShareNamespace {
 public:
  // Has all mounts of the host at first; what the host unmounts goes there too.
  static absl::StatusOr<std::shared_ptr<const ShareNamespace>> Make();

  // Runs `job` in it, on a thread of its own with a working directory of its own.
  absl::Status Run(const std::function<absl::Status()>& job) const;
  // Unmounts in it what is neither `kept`, nor below, nor above it, nor /proc: where a host's mounts do not propagate,
  // the copies would keep its file systems busy. For when all programs that run in it have found their files.
  absl::Status KeepOnly(const std::string& kept) const;
  int fd() const { return fd_.get(); }

 private:
  explicit ShareNamespace(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// Runs `job` in a copy of the host's namespace that is gone afterwards: mounts that it makes live on only in
// descriptors of copies (open_tree).
absl::Status RunInCopyOfNamespace(const std::function<absl::Status()>& job);

}  // namespace kata::virtcontainers
