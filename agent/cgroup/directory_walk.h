// SPDX-License-Identifier: Apache-2.0
// Walks the directories below one, parents first, a step at a time: the caller decides how many
// steps it takes at once. However deep or many they are, it holds one descriptor, and a name per
// level. A directory that is removed once it has been left does not disturb the walk. Any thread.
#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::agent {

class DirectoryWalk {
 public:
  enum class Step {
    kEntered,  // fd() is a directory not seen before, at first the top itself
    kLeft,     // all below name() has been seen; fd() is its parent
    kEnded,
  };
  // NotFound when it is not there.
  static absl::StatusOr<DirectoryWalk> Open(const std::string& top);
  absl::StatusOr<Step> Next();
  int fd() const { return fd_.get(); }
  const std::string& name() const { return left_; }

 private:
  struct Level {
    std::string name;
    long position = 0;  // behind the entry that was entered last
  };
  explicit DirectoryWalk(UniqueFd top) : fd_(std::move(top)) {}
  absl::StatusOr<bool> EnterNext();

  UniqueFd fd_;
  std::vector<Level> levels_;
  std::string left_;
};

}  // namespace kata::agent
