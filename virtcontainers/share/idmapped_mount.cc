// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/share/idmapped_mount.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include <absl/status/statusor.h>
#include <absl/strings/str_cat.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

std::string MapText(const std::vector<IdMapping>& mappings) {
  std::string out;
  for (const IdMapping& item : mappings) absl::StrAppend(&out, item.container, " ", item.host, " ", item.size, "\n");
  return out;
}

// A process that only lends its user namespace.
class Lender {
 public:
  Lender() {
    // Without a signal at its end: nobody else shall wait for it.
    pid_ = static_cast<pid_t>(::syscall(SYS_clone, CLONE_NEWUSER, nullptr, nullptr, nullptr, nullptr));
    error_ = errno;
    if (pid_ != 0) return;
    // Of a process with other threads: system calls only.
    for (;;) ::pause();
  }
  ~Lender() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, __WALL) < 0 && errno == EINTR) {
    }
  }
  Lender(const Lender&) = delete;
  Lender& operator=(const Lender&) = delete;

  absl::StatusOr<UniqueFd> Namespace(const IdMap& map) const {
    if (pid_ < 0) return ErrnoStatus(error_, "making a user namespace");
    RETURN_IF_ERROR(WriteExisting(absl::StrCat("/proc/", pid_, "/uid_map"), MapText(map.uids)));
    RETURN_IF_ERROR(WriteExisting(absl::StrCat("/proc/", pid_, "/gid_map"), MapText(map.gids)));
    UniqueFd fd(::open(absl::StrCat("/proc/", pid_, "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return ErrnoStatus(errno, "opening a user namespace");
    return fd;
  }

 private:
  pid_t pid_ = -1;
  int error_ = 0;
};

}  // namespace

absl::Status IdmapMount(int mount, const IdMap& map) {
  if (map.uids.empty() || map.gids.empty() || map.uids.size() > kIdMappingsMax || map.gids.size() > kIdMappingsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("idmapping: it needs 1 to ", kIdMappingsMax, " mappings of uids and of gids"));
  }
  const Lender lender;
  auto names = lender.Namespace(map);
  if (!names.ok()) return Annotate(names.status(), "idmapping");
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<__u64>(names->get());
  const unsigned flags = AT_EMPTY_PATH | (map.is_recursive ? AT_RECURSIVE : 0);
  if (::mount_setattr(mount, "", flags, &attributes, sizeof(attributes)) == 0) return absl::OkStatus();
  if (errno == EINVAL || errno == EPERM || errno == ENOSYS) {
    return absl::FailedPreconditionError(
        "idmapping: the host's kernel has no idmapped mounts of this file system; change the owners instead");
  }
  return ErrnoStatus(errno, "idmapping");
}

}  // namespace kata::virtcontainers
