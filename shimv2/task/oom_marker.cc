// SPDX-License-Identifier: Apache-2.0
#include "shimv2/task/oom_marker.h"

#include <fcntl.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::shimv2 {

absl::Status MarkOutOfMemory(const std::string& bundle) {
  const std::string what = absl::StrCat("noting an OOM kill in \"", bundle, "\"");
  UniqueFd directory(::open(bundle.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return ErrnoStatus(errno, what);
  UniqueFd marker(::openat(directory.get(), "oom", O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
  if (!marker.valid()) return ErrnoStatus(errno, what);
  return absl::OkStatus();
}

}  // namespace kata::shimv2
