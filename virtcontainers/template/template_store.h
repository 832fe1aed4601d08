// SPDX-License-Identifier: Apache-2.0
// The host's templates: saved machines that pods go on from, a directory each, named by the digest of the machine's
// shape. A template is there whole or not at all. One is made at a time of each shape, by a process with its lock; all
// other work needs none, so that no process can hold up another. Blocking; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::virtcontainers {

// More are made, but the ones that were not used for longest go.
inline constexpr size_t kTemplatesMax = 8;

struct TemplateInfo {
  std::string key;
  uint64_t bytes = 0;   // on the disk
  int64_t used_at = 0;  // seconds since 1970: when a pod last went on from it
  std::string why_not;  // why it could not be made; empty: it is there
};

class TemplateStore {
 public:
  explicit TemplateStore(std::string directory) : directory_(std::move(directory)) {}

  // `shape` of ShapeOf.
  static std::string KeyOf(const std::string& shape);

  enum class Standing {
    kReady,
    kWanted,     // it may be made
    kSeenFirst,  // one of a shape that only few pods may have: it is remembered, and wanted the next time
    kFailed,     // it could not be made a short while ago
  };
  // `is_usual`: a shape that is worth a template at once. Counts as a use.
  Standing Ask(const std::string& key, bool is_usual) const;
  std::string DirectoryOf(const std::string& key) const;
  // On the disk, of a template's directory.
  static uint64_t SizeOf(const std::string& directory);

  // Makes the store, of root alone. An error where nothing can be written to it.
  absl::Status Prepare() const;
  // Whoever has it may make the template `key`; Unavailable while somebody else does. Prepares the store.
  absl::StatusOr<UniqueFd> Lock(const std::string& key) const;
  // With the lock: an empty directory to fill, and what makes the template of it, in place of one that is there.
  absl::StatusOr<std::string> Begin(const std::string& key) const;
  absl::Status Publish(const std::string& key) const;
  // With the lock: takes back what Begin has made, and remembers why.
  void GiveUp(const std::string& key, const std::string& why) const;
  // Keys that Begin was called for and nothing came of yet: being made, or left by a process that was killed.
  std::vector<std::string> Unfinished() const;
  // Of the last try; empty when none has failed.
  std::string WhyNot(const std::string& key) const;

  // Those that go on from it have their own copy. OK when there is none.
  absl::Status Remove(const std::string& key) const;
  absl::StatusOr<std::vector<TemplateInfo>> List() const;
  // Down to kTemplatesMax.
  absl::Status Prune() const;

 private:
  std::string directory_;
};

}  // namespace kata::virtcontainers
