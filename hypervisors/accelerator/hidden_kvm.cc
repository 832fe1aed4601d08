// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/accelerator/hidden_kvm.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>

#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::hypervisors {

absl::Status HideKvm(const std::string& device, const std::string& cover) {
  if (access(device.c_str(), F_OK) != 0) return absl::OkStatus();
  const UniqueFd file(open(cover.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0));
  if (!file.valid()) return ErrnoStatus(errno, absl::StrCat("make \"", cover, "\""));
  if (unshare(CLONE_NEWNS) != 0) return ErrnoStatus(errno, "make a mount namespace");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0 ||
      mount(cover.c_str(), device.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    return ErrnoStatus(errno, absl::StrCat("cover \"", device, "\""));
  }
  return absl::OkStatus();
}

}  // namespace kata::hypervisors
