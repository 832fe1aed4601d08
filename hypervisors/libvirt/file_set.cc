// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/file_set.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>
#include <thread>

#include <absl/strings/str_cat.h>

#include "proto/base/status.h"

namespace kata::hypervisors {
namespace {

constexpr char kDirectory[] = "/dev/fdset";

absl::Status MakeFile(const std::string& path) {
  if (unshare(CLONE_FS | CLONE_NEWNS) != 0) return ErrnoStatus(errno, "make a mount namespace");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("none", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,nr_inodes=8,mode=700") != 0 ||
      mkdir(kDirectory, 0700) != 0) {
    return ErrnoStatus(errno, absl::StrCat("make \"", kDirectory, "\""));
  }
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  return file.valid() ? absl::OkStatus() : ErrnoStatus(errno, absl::StrCat("make \"", path, "\""));
}

}  // namespace

std::string FileSetPath(int number) { return absl::StrCat(kDirectory, "/", number); }

absl::StatusOr<std::vector<UniqueFd>> FilesForSet(int fd, bool is_read_only) {
  // Nobody gains a right to write by it.
  if (!is_read_only && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR) {
    return absl::InvalidArgumentError("the disk's file is not open for writing");
  }
  // Opened anew: QEMU's lock on a file belongs to what it was opened as, and would outlive the disk in a duplicate.
  const std::string path = absl::StrCat("/proc/self/fd/", fd);
  std::vector<UniqueFd> files;
  for (const int mode : {O_RDONLY, O_RDWR}) {
    if (mode == O_RDWR && is_read_only) break;
    files.emplace_back(open(path.c_str(), mode | O_CLOEXEC));
    if (!files.back().valid()) return ErrnoStatus(errno, "open the disk's file again");
  }
  return files;
}

absl::Status RunWithFileSetPath(int number, const std::function<absl::Status()>& job) {
  absl::Status status;
  std::thread thread([number, &job, &status] {
    status = MakeFile(FileSetPath(number));
    if (status.ok()) status = job();
  });
  thread.join();
  return status;
}

}  // namespace kata::hypervisors
