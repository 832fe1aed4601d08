// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/share/share_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include <cerrno>
#include <future>

#include <absl/strings/match.h>

#include "proto/base/status.h"
#include "virtcontainers/share/mounts.h"

namespace kata::virtcontainers {
namespace {

// A thread of its own: the caller's must stay where it is. Exceptions come back to the caller.
absl::Status OnOwnThread(const std::function<absl::Status()>& job) { return std::async(std::launch::async, job).get(); }

absl::Status LeaveHost() {
  if (::unshare(CLONE_NEWNS) != 0) return ErrnoStatus(errno, "making a mount namespace");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0)
    return ErrnoStatus(errno, "keeping a mount namespace's mounts from the host");
  return absl::OkStatus();
}

bool IsAtOrBelow(const std::string& path, const std::string& parent) {
  return path == parent || absl::StartsWith(path, parent + "/");
}

}  // namespace

absl::StatusOr<std::shared_ptr<const ShareNamespace>> ShareNamespace::Make() {
  UniqueFd fd;
  const absl::Status made = OnOwnThread([&fd]() -> absl::Status {
    RETURN_IF_ERROR(LeaveHost());
    fd.reset(::open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC));
    return fd.valid() ? absl::OkStatus() : ErrnoStatus(errno, "opening a mount namespace");
  });
  if (!made.ok()) return made;
  return std::shared_ptr<const ShareNamespace>(new ShareNamespace(std::move(fd)));
}

absl::Status ShareNamespace::Run(const std::function<absl::Status()>& job) const {
  return OnOwnThread([this, &job]() -> absl::Status {
    // A thread that shares its working directory with others may not change the namespace.
    if (::unshare(CLONE_FS) != 0 || ::setns(fd_.get(), CLONE_NEWNS) != 0)
      return ErrnoStatus(errno, "entering the sandbox's mount namespace");
    return job();
  });
}

absl::Status ShareNamespace::KeepOnly(const std::string& kept) const {
  return Run([&kept]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<MountEntry> mounts, Mounts());
    // The last is mounted on top of, or deeper than, the ones before.
    for (auto mount = mounts.rbegin(); mount != mounts.rend(); ++mount) {
      const bool is_above = mount->place == "/" || IsAtOrBelow(kept, mount->place);
      // The table of mounts is read there.
      if (is_above || mount->place == "/proc" || IsAtOrBelow(mount->place, kept)) continue;
      // One that is under another is gone already, or is reached when that is.
      ::umount2(mount->place.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    }
    return absl::OkStatus();
  });
}

absl::Status RunInCopyOfNamespace(const std::function<absl::Status()>& job) {
  return OnOwnThread([&job]() -> absl::Status {
    RETURN_IF_ERROR(LeaveHost());
    return job();
  });
}

}  // namespace kata::virtcontainers
