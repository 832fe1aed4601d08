// SPDX-License-Identifier: Apache-2.0
#include "agent/mounts.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include <absl/strings/str_split.h>

#include "agent/copy_up.h"
#include "agent/errors.h"
#include "agent/mount_options.h"

namespace kata::agent {
namespace {

constexpr char kNull[] = "/dev/null";

std::string Magic(const UniqueFd& fd) { return absl::StrCat("/proc/self/fd/", fd.get()); }

// Flags of the mount that holds `fd`, which a remount must repeat or it would drop them.
unsigned long FlagsOf(int fd) {
  struct statvfs info {};
  if (::fstatvfs(fd, &info) != 0) return 0;
  unsigned long flags = 0;
  if (info.f_flag & ST_RDONLY) flags |= MS_RDONLY;
  if (info.f_flag & ST_NOSUID) flags |= MS_NOSUID;
  if (info.f_flag & ST_NODEV) flags |= MS_NODEV;
  if (info.f_flag & ST_NOEXEC) flags |= MS_NOEXEC;
  if (info.f_flag & ST_NOATIME) flags |= MS_NOATIME;
  if (info.f_flag & ST_NODIRATIME) flags |= MS_NODIRATIME;
  if (info.f_flag & ST_RELATIME) flags |= MS_RELATIME;
  return flags;
}

absl::Status Remount(const UniqueFd& fd, unsigned long flags, const std::string& name) {
  if (::mount(nullptr, Magic(fd).c_str(), nullptr, MS_BIND | MS_REMOUNT | flags, nullptr) != 0) {
    return SystemError(errno, absl::StrCat("remounting \"", name, "\""));
  }
  return absl::OkStatus();
}

absl::Status MakeOne(int root_fd, const std::string& parent, const std::string& name,
                     bool is_directory) {
  auto dir = OpenInRoot(root_fd, parent, O_PATH | O_DIRECTORY);
  RETURN_IF_ERROR(dir.status());
  int made = is_directory ? ::mkdirat(dir->get(), name.c_str(), 0755)
                          : ::mknodat(dir->get(), name.c_str(), S_IFREG | 0644, 0);
  if (made != 0 && errno != EEXIST)
    return SystemError(errno, absl::StrCat("creating \"", parent, "/", name, "\""));
  return absl::OkStatus();
}

absl::StatusOr<bool> SourceIsDirectory(const Mount& mount, const MountOptions& options) {
  if (!options.is_bind) return true;
  struct stat info {};
  if (::stat(mount.source.c_str(), &info) != 0) {
    return SystemError(
        errno, absl::StrCat("mounting \"", mount.source, "\" at \"", mount.destination, "\""));
  }
  return S_ISDIR(info.st_mode);
}

// "mode=0755" for a directory that is there; empty otherwise.
std::string ModeOfExisting(int root_fd, const std::string& path) {
  auto found = OpenInRoot(root_fd, path, O_PATH | O_DIRECTORY);
  struct stat info {};
  if (!found.ok() || ::fstat(found->get(), &info) != 0) return "";
  char text[16];
  std::snprintf(text, sizeof(text), "mode=%04o", info.st_mode & 07777u);
  return text;
}

absl::Status CopyCovered(const UniqueFd& covered, const UniqueFd& mounted) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  UniqueFd from(::open(Magic(covered).c_str(), kFlags));
  UniqueFd to(::open(Magic(mounted).c_str(), kFlags));
  if (!from.valid() || !to.valid()) return SystemError(errno, "opening the directory to copy up");
  return CopyUp(from.get(), to.get(), CopyUpLimits());
}

absl::Status FinishMount(const UniqueFd& mounted, const Mount& mount, const MountOptions& options) {
  if (options.is_bind && (options.flags != 0 || options.cleared != 0)) {
    const unsigned long wanted = (FlagsOf(mounted.get()) & ~options.cleared) | options.flags;
    RETURN_IF_ERROR(Remount(mounted, wanted, mount.destination));
  }
  if (options.recursive_set != 0 || options.recursive_cleared != 0) {
    mount_attr attributes{};
    attributes.attr_set = options.recursive_set;
    attributes.attr_clr = options.recursive_cleared;
    if (::mount_setattr(mounted.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes,
                        sizeof(attributes)) != 0) {
      return SystemError(errno, "setting the recursive options");
    }
  }
  for (unsigned long propagation : options.propagation) {
    if (::mount(nullptr, Magic(mounted).c_str(), nullptr, propagation, nullptr) != 0)
      return SystemError(errno, "propagation");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<UniqueFd> OpenInRoot(int root_fd, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<__u64>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const std::string name = path.empty() ? "/" : path;
  long fd = ::syscall(SYS_openat2, root_fd, name.c_str(), &how, sizeof(how));
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("opening \"", path, "\" in the root"));
  return UniqueFd(static_cast<int>(fd));
}

absl::StatusOr<UniqueFd> MakeInRoot(int root_fd, const std::string& path, bool is_directory) {
  auto found = OpenInRoot(root_fd, path, O_PATH);
  if (found.ok() || !absl::IsNotFound(found.status())) return found;
  std::vector<std::string> parts = absl::StrSplit(path, '/', absl::SkipEmpty());
  if (parts.size() > kPathComponentsMax) {
    return absl::InvalidArgumentError(absl::StrCat("mount target \"", path, "\": too deep"));
  }
  std::string parent;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string here = absl::StrCat(parent, "/", parts[i]);
    if (absl::IsNotFound(OpenInRoot(root_fd, here, O_PATH).status())) {
      RETURN_IF_ERROR(MakeOne(root_fd, parent, parts[i], is_directory || i + 1 < parts.size()));
    }
    parent = here;
  }
  return OpenInRoot(root_fd, path, O_PATH);
}

absl::Status MountInRoot(int root_fd, const Mount& mount) {
  MountOptions options = ParseMountOptions(mount.options);
  if (mount.type == "bind") options.is_bind = true;
  const std::string what =
      absl::StrCat("mounting \"", mount.source, "\" at \"", mount.destination, "\"");
  ASSIGN_OR_RETURN(bool is_directory, SourceIsDirectory(mount, options));
  const std::string mode = ModeOfExisting(root_fd, mount.destination);
  ASSIGN_OR_RETURN(UniqueFd target, MakeInRoot(root_fd, mount.destination, is_directory));
  std::string type = mount.type;
  if (type == "cgroup" || type == "cgroup2") {
    // The guest has the unified hierarchy only; data for the old one has no meaning there.
    type = "cgroup2";
    options.data.clear();
  }
  // As runc: a tmpfs has the mode of the directory that it covers, unless another is asked for.
  if (type == "tmpfs" && !mode.empty())
    options.data = absl::StrCat(mode, options.data.empty() ? "" : ",", options.data);
  options.copies_up = options.copies_up && type == "tmpfs" && !options.is_bind;
  const bool is_dev = mount.destination == "/dev" || mount.destination == "/dev/";
  unsigned long flags = options.flags;
  // What is still to be filled becomes read-only later.
  if ((is_dev && type == "tmpfs") || options.copies_up)
    flags &= ~static_cast<unsigned long>(MS_RDONLY);
  if (options.is_bind) {
    flags = MS_BIND | (options.is_recursive_bind ? MS_REC : 0);
    type.clear();
    options.data.clear();
  }
  if (::mount(mount.source.c_str(), Magic(target).c_str(), type.empty() ? nullptr : type.c_str(),
              flags, options.data.empty() ? nullptr : options.data.c_str()) != 0) {
    return SystemError(errno, what);
  }
  // The descriptor made before names what the mount now covers, so the target is resolved anew.
  ASSIGN_OR_RETURN(UniqueFd mounted, OpenInRoot(root_fd, mount.destination, O_PATH));
  if (options.copies_up) {
    RETURN_IF_ERROR(Annotate(CopyCovered(target, mounted), what));
    if (options.flags & MS_RDONLY && !is_dev)
      RETURN_IF_ERROR(Remount(mounted, options.flags, mount.destination));
  }
  return Annotate(FinishMount(mounted, mount, options), what);
}

absl::Status MakePathReadonly(const std::string& path) {
  if (::mount(path.c_str(), path.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return absl::OkStatus();
    return SystemError(errno, absl::StrCat("making \"", path, "\" read-only"));
  }
  UniqueFd fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!fd.valid()) return SystemError(errno, absl::StrCat("opening \"", path, "\""));
  const unsigned long flags = MS_BIND | MS_REMOUNT | MS_RDONLY | FlagsOf(fd.get());
  if (::mount(nullptr, path.c_str(), nullptr, flags, nullptr) != 0) {
    return SystemError(errno, absl::StrCat("making \"", path, "\" read-only"));
  }
  return absl::OkStatus();
}

absl::Status MaskPath(const std::string& path) {
  const std::string what = absl::StrCat("masking \"", path, "\"");
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    // ENOTDIR comes from a path that leads through a file, which is the same as missing.
    if (errno == ENOENT || errno == ENOTDIR) return absl::OkStatus();
    return SystemError(errno, what);
  }
  if (S_ISDIR(info.st_mode)) {
    if (::mount("tmpfs", path.c_str(), "tmpfs", MS_RDONLY, "size=0k") == 0) return absl::OkStatus();
    return SystemError(errno, what);
  }
  // A volume at /dev may have anything there.
  if (::lstat(kNull, &info) != 0 || !S_ISCHR(info.st_mode) || info.st_rdev != makedev(1, 3)) {
    return absl::FailedPreconditionError(
        absl::StrCat(what, ": the container's ", kNull, " is not the null device"));
  }
  if (::mount(kNull, path.c_str(), nullptr, MS_BIND, nullptr) == 0) return absl::OkStatus();
  return SystemError(errno, what);
}

}  // namespace kata::agent
