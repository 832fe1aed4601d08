// SPDX-License-Identifier: Apache-2.0
// The one table of mount option words, as the OCI spec and mount(8) write them: what the agent mounts by, what the host
// exports by, and what `-info` offers to callers. A word that one of them knew and another did not once let a guest
// write to what its container had read-only. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/status.h>

namespace kata {

// For mount_setattr(2).
struct MountAttributes {
  uint64_t set = 0;  // MOUNT_ATTR_*
  uint64_t cleared = 0;
  bool empty() const { return set == 0 && cleared == 0; }
};

struct MountOptions {
  unsigned long flags = 0;                 // MS_RDONLY, MS_NOSUID, …: for mount(2) of a file system
  MountAttributes own;                     // the same for a bind, whose mount takes them by a second call
  MountAttributes recursive;               // for the mount and all below it ("rro", "rnoexec", "rrw", …)
  std::vector<unsigned long> propagation;  // MS_PRIVATE | MS_REC and so on, in order
  bool is_bind = false;
  bool is_recursive_bind = false;
  bool copies_up = false;  // "tmpcopyup": a tmpfs starts with the content it covers
  bool maps_ids = false;   // "idmap", "ridmap"
  bool maps_ids_recursively = false;
  std::vector<std::string> rest;  // words that are none of the above: the file system's own

  std::string Data() const;  // `rest`, as mount(2) takes it
};

MountOptions ParseMountOptions(const std::vector<std::string>& options);

// InvalidArgument, with the word, when `options` has one that is neither the kernel's nor mount(8)'s own ("nofail",
// "x-…"). For binds: they have no file system that could know it. runc hands such a word to mount(2), which ignores it;
// here it is an error, since what is misspelt or newer than this table is mostly a protection, and nobody would notice
// that it is missing.
absl::Status RefuseUnknownWords(const MountOptions& options);

// Every word that the agent does something about, sorted.
std::vector<std::string> MountOptionWords();

}  // namespace kata
