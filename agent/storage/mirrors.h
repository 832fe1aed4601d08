// SPDX-License-Identifier: Apache-2.0
// Copies of volumes of the host that the kubelet changes while containers read them, a directory each. Programs that
// watch one see what they would see of the kubelet's own work: new files first, then the links that lead to them, each
// in one step, then what is not there any more. Io thread; blocks for as long as a tmpfs needs for it.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include <absl/status/status.h>

#include "proto/schema/agent.pb.h"

namespace kata::agent {

inline constexpr int kMirrorEntriesMax = 2048;
inline constexpr size_t kMirrorsMax = 64;

class Mirrors {
 public:
  explicit Mirrors(std::string directory) : directory_(std::move(directory)) {}

  // Makes mirror `number` what the request says; nothing when it has a later version already. What no request had, a
  // mount point that was made in it, stays. InvalidArgument for a request that is no tree; what stands in the mirror
  // then is as before.
  absl::Status Set(const v1::SetMirrorRequest& request);

 private:
  struct Mirror {
    uint64_t version = 0;
    std::set<std::string> paths;  // of its entries, also of those of a try that failed
  };
  const std::string directory_;
  std::map<uint64_t, Mirror> mirrors_;  // by number
};

}  // namespace kata::agent
