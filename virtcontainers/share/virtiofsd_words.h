// SPDX-License-Identifier: Apache-2.0
// The command line of a virtiofsd. There are two programs of that name: the one of QEMU's sources, until QEMU 7.2
// (Debian 12), and the one written in Rust (Debian 13). Which one is there, it is asked itself. Blocking; pool threads.
#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace kata::virtcontainers {

// What a program's --help says about it.
struct VirtiofsdKind {
  bool is_rust = false;                  // else QEMU's
  bool can_forget_mount_points = false;  // --no-announce-submounts
  bool has_file_handles = false;         // --inode-file-handles
  friend bool operator==(const VirtiofsdKind&, const VirtiofsdKind&) = default;
};

struct VirtiofsdShare {
  std::string directory;
  std::string cache;                              // auto, always, none
  int socket_fd = -1;                             // of the daemon
  bool is_short_of_files = false;                 // its limit of open files is low
  std::vector<std::string> extra_arguments = {};  // of the configuration, checked there
};

// Where distributions put it: the first of kVirtiofsdPlaces that there is; NotFound names them all.
absl::StatusOr<std::string> FindVirtiofsd();

absl::StatusOr<VirtiofsdKind> ReadVirtiofsdHelp(const std::string& help);
// Runs it for that; kept in a file of `cache_dir` for this version of the program. An empty one keeps nothing.
absl::StatusOr<VirtiofsdKind> ProbeVirtiofsd(const std::string& program, const std::string& cache_dir);

// What follows the program's name.
std::vector<std::string> VirtiofsdWords(const VirtiofsdKind& kind, const VirtiofsdShare& share);

}  // namespace kata::virtcontainers
