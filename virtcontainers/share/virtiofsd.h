// SPDX-License-Identifier: Apache-2.0
// The virtiofsd of one sandbox: a child of the shim in namespaces of its own. Blocking calls; pool
// threads.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "proto/base/child_process.h"
#include "proto/base/fd.h"

namespace kata::virtcontainers {

struct VirtiofsdOptions {
  std::string program;       // empty: FindVirtiofsd() of virtiofsd_words.h
  std::string cache_dir;     // keeps what the program has said of itself; empty: nothing is kept
  std::string directory;     // what it exports
  int mount_namespace = -1;  // where that is; a descriptor
  std::string cache;         // auto, always, none
  std::vector<std::string> extra_arguments;
  std::string socket_path;  // made here, owned by uid
  std::string pid_file;
  uid_t uid = 0;  // QEMU's
  gid_t gid = 0;
};

struct Virtiofsd {
  ChildProcess process;
  UniqueFd output;           // what it writes comes here; whoever starts it reads it to its end
  uint64_t descriptors = 0;  // how many files it may have open: one for each that the guest knows
};

absl::StatusOr<Virtiofsd> StartVirtiofsd(const VirtiofsdOptions& options);
// Kills it and its children and waits for its end.
absl::Status StopVirtiofsd(Virtiofsd& daemon, std::chrono::milliseconds timeout);
// The same for one whose shim is gone, by its pid file.
absl::Status CleanUpVirtiofsd(const std::string& pid_file, std::chrono::milliseconds timeout);

}  // namespace kata::virtcontainers
