// SPDX-License-Identifier: Apache-2.0
// Mounts of the share. They are made detached, in the host's namespace, get all that protects the host there, and are
// then put in their place in the sandbox's namespace: none is ever seen half done. Blocking; pool threads.
#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"
#include "virtcontainers/storage/mountinfo.h"

namespace kata::virtcontainers {

enum class ReadOnly {
  kNo,
  kTop,  // not the mounts below it, as with runc's "rbind", "ro"
  kAll,
};

struct ExportOptions {
  bool is_recursive = true;  // with what is mounted below it
  ReadOnly read_only = ReadOnly::kNo;
  bool is_private = false;  // later mounts of the host do not appear in it
};

// A detached copy of the mount at `source`, a directory or a file.
absl::StatusOr<UniqueFd> CopyMount(const std::string& source, bool is_recursive);
// The same of a place that is open already.
absl::StatusOr<UniqueFd> CopyMount(int place, bool is_recursive);
// Makes a detached mount fit for a guest: no set-user-ID program and no device of it works on the host, and what the
// container may not write is read-only.
absl::Status ProtectMount(int mount, const ExportOptions& options);
// In the sandbox's namespace: puts a detached mount at `target`, which is created.
absl::Status AttachMount(int mount, const std::string& target);

// Paths, relative to `place`, of the mounts below it that can be written to and that no other one of them leads to.
absl::StatusOr<std::vector<std::string>> WritableMountsBelow(const std::string& place);
// Unmounts everything at and below `directory`, the topmost with what is below them, lazily where one is in use. OK
// when nothing is mounted there.
absl::Status UnmountBelow(const std::string& directory);

}  // namespace kata::virtcontainers
