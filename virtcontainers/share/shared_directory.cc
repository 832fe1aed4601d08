// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/share/shared_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string_view>

#include "proto/base/fd.h"
#include "proto/base/status.h"
#include "virtcontainers/paths.h"

namespace kata::virtcontainers {
namespace {

// Of the file system that holds the mount points: directories and empty files.
constexpr int kMountPointsMax = 65536;
constexpr char kSizeMax[] = "16m";

std::string ReadWrite(const std::string& sandbox_id) { return absl::StrCat(SharedDirectory(sandbox_id), "/rw"); }

absl::Status Mount(const char* source, const std::string& target, unsigned long flags) {
  if (::mount(source, target.c_str(), nullptr, flags, nullptr) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("mounting shared directory \"", target, "\""));
}

// Removes `name` of `parent` and all below; enters no link and no other mount. 0 or an errno.
int RemoveAt(int parent, const char* name) {
  if (::unlinkat(parent, name, 0) == 0) return 0;
  if (errno != EISDIR && errno != EPERM) return errno;
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  const int fd = static_cast<int>(::syscall(SYS_openat2, parent, name, &how, sizeof(how)));
  if (fd < 0) return errno;
  DIR* entries = ::fdopendir(fd);
  if (entries == nullptr) {
    const int error = errno;
    ::close(fd);
    return error;
  }
  int error = 0;
  while (const dirent* entry = ::readdir(entries)) {
    const std::string_view child = entry->d_name;
    if (child == "." || child == "..") continue;
    if (const int failed = RemoveAt(fd, entry->d_name); failed != 0 && failed != ENOENT) error = failed;
  }
  ::closedir(entries);
  if (error != 0) return error;
  return ::unlinkat(parent, name, AT_REMOVEDIR) == 0 ? 0 : errno;
}

}  // namespace

std::string ExportedDirectory(const std::string& sandbox_id) {
  return absl::StrCat(SharedDirectory(sandbox_id), "/ro");
}
std::string ContainerHostPath(const std::string& sandbox_id, const std::string& container_id) {
  return absl::StrCat(ReadWrite(sandbox_id), "/", container_id);
}
std::string ContainerGuestPath(const std::string& container_id) { return absl::StrCat(kGuestShare, "/", container_id); }

absl::Status MakeSharedDirectory(const std::string& sandbox_id, uid_t owner) {
  const std::string directory = SharedDirectory(sandbox_id);
  const std::string rw = ReadWrite(sandbox_id);
  const std::string ro = ExportedDirectory(sandbox_id);
  // With 9p the machine's user must come through it, whoever has made it and with which umask.
  const std::string parent = directory.substr(0, directory.rfind('/'));
  RETURN_IF_ERROR(MakeDirs(parent, 0711));
  if (::chmod(parent.c_str(), 0711) != 0) return ErrnoStatus(errno, absl::StrCat("opening up \"", parent, "\""));
  RETURN_IF_ERROR(MakeDirs(directory, 0700));
  // A file system of the namespace's own, so that also the mount points are gone with it. Images hold set-user-ID
  // programs: no user of the host may come near them.
  const std::string data = absl::StrCat("mode=0700,uid=", owner, ",nr_inodes=", kMountPointsMax, ",size=", kSizeMax);
  if (::mount("kata-share", directory.c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, data.c_str()) != 0)
    return ErrnoStatus(errno, absl::StrCat("mounting shared directory \"", directory, "\""));
  RETURN_IF_ERROR(Mount(nullptr, directory, MS_PRIVATE));
  // With 9p the machine's user lists them.
  RETURN_IF_ERROR(MakeDirs(rw, 0755));
  RETURN_IF_ERROR(MakeDirs(ro, 0755));
  // A mount of its own that is shared, and a slave of it: what is mounted in rw appears in ro,
  // never the reverse.
  RETURN_IF_ERROR(Mount(rw.c_str(), rw, MS_BIND));
  RETURN_IF_ERROR(Mount(nullptr, rw, MS_PRIVATE));
  RETURN_IF_ERROR(Mount(nullptr, rw, MS_SHARED));
  RETURN_IF_ERROR(Mount(rw.c_str(), ro, MS_BIND));
  RETURN_IF_ERROR(Mount(nullptr, ro, MS_SLAVE));
  RETURN_IF_ERROR(Mount(nullptr, ro, MS_SHARED));  // on to virtiofsd's own mount namespace
  return Mount(nullptr, ro, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
}

absl::Status RemoveTree(const std::string& directory) {
  const size_t slash = directory.rfind('/');
  UniqueFd parent(::open(directory.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const int error = parent.valid() ? RemoveAt(parent.get(), directory.substr(slash + 1).c_str()) : errno;
  if (error == 0 || error == ENOENT) return absl::OkStatus();
  return ErrnoStatus(error, absl::StrCat("removing \"", directory, "\""));
}

absl::Status RemoveSharedDirectory(const std::string& sandbox_id) { return RemoveTree(SharedDirectory(sandbox_id)); }

}  // namespace kata::virtcontainers
