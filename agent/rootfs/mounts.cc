// SPDX-License-Identifier: Apache-2.0
#include "agent/rootfs/mounts.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include <absl/strings/match.h>

#include "agent/base/errors.h"
#include "agent/base/paths.h"
#include "agent/rootfs/copy_up.h"
#include "proto/base/in_root.h"
#include "proto/base/mount_options.h"

namespace kata::agent {
namespace {

constexpr char kNull[] = "/dev/null";

std::string Magic(const UniqueFd& fd) { return absl::StrCat("/proc/self/fd/", fd.get()); }

// In a user namespace the protections that a mount has are locked: as runc, whatever the options say
// of them, and what is to be added comes all the same.
absl::Status SetAttributes(const UniqueFd& mounted, const MountAttributes& wanted, unsigned flags,
                           const std::string& what) {
  if (wanted.empty()) return absl::OkStatus();
  const auto set = [&](uint64_t to_set, uint64_t to_clear) {
    mount_attr attributes{};
    attributes.attr_set = to_set;
    attributes.attr_clr = to_clear;
    return ::mount_setattr(mounted.get(), "", AT_EMPTY_PATH | flags, &attributes, sizeof(attributes)) == 0;
  };
  if (set(wanted.set, wanted.cleared)) return absl::OkStatus();
  if (errno == EPERM && set(wanted.set & ~static_cast<uint64_t>(MOUNT_ATTR__ATIME), 0)) return absl::OkStatus();
  return SystemError(errno, what);
}

absl::StatusOr<bool> SourceIsDirectory(const Mount& mount, const MountOptions& options) {
  if (!options.is_bind) return true;
  struct stat info {};
  if (::stat(mount.source.c_str(), &info) != 0) {
    return SystemError(errno, absl::StrCat("mounting \"", mount.source, "\" at \"", mount.destination, "\""));
  }
  return S_ISDIR(info.st_mode);
}

bool IsInMemoryVolume(const std::string& source) { return absl::StartsWith(source, absl::StrCat(kMemoryVolumes, "/")); }

// What lies in a memory volume is the containers': a link there would lead a mount out of it.
absl::StatusOr<UniqueFd> OpenInMemoryVolume(const std::string& source) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS;
  const long fd = ::syscall(SYS_openat2, AT_FDCWD, source.c_str(), &how, sizeof(how));
  if (fd < 0) return SystemError(errno, absl::StrCat("opening memory volume \"", source, "\""));
  return UniqueFd(static_cast<int>(fd));
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

// A user namespace may mount a sysfs only of a network namespace of its own. The guest's, then, with
// what lies below it, for reading.
bool BindSysfs(const UniqueFd& target, unsigned long flags) {
  UniqueFd tree(::open_tree(AT_FDCWD, "/sys", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (flags & MS_NOEXEC) attributes.attr_set |= MOUNT_ATTR_NOEXEC;
  constexpr unsigned kFrom = AT_EMPTY_PATH | AT_RECURSIVE;
  return tree.valid() && ::mount_setattr(tree.get(), "", kFrom, &attributes, sizeof(attributes)) == 0 &&
         ::move_mount(tree.get(), "", target.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0;
}

absl::Status FinishMount(const UniqueFd& mounted, const MountOptions& options) {
  if (options.is_bind) RETURN_IF_ERROR(SetAttributes(mounted, options.own, 0, "setting its options"));
  RETURN_IF_ERROR(SetAttributes(mounted, options.recursive, AT_RECURSIVE, "setting the recursive options"));
  for (unsigned long propagation : options.propagation) {
    if (::mount(nullptr, Magic(mounted).c_str(), nullptr, propagation, nullptr) != 0)
      return SystemError(errno, "propagation");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status MountInRoot(int root_fd, const Mount& mount) {
  MountOptions options = ParseMountOptions(mount.options);
  if (mount.type == "bind") options.is_bind = true;
  const std::string what = absl::StrCat("mounting \"", mount.source, "\" at \"", mount.destination, "\"");
  if (options.is_bind) RETURN_IF_ERROR(Annotate(RefuseUnknownWords(options), what));
  if (options.maps_ids)
    return absl::UnimplementedError(absl::StrCat(what, ": mount option \"idmap\" is not supported"));
  ASSIGN_OR_RETURN(bool is_directory, SourceIsDirectory(mount, options));
  const std::string mode = ModeOfExisting(root_fd, mount.destination);
  ASSIGN_OR_RETURN(UniqueFd target, MakeInRoot(root_fd, mount.destination, is_directory));
  std::string type = mount.type;
  std::string data = options.Data();
  if (type == "cgroup" || type == "cgroup2") {
    // The guest has the unified hierarchy only; data for the old one has no meaning there.
    type = "cgroup2";
    data.clear();
  }
  // As runc: a tmpfs has the mode of the directory that it covers, unless another is asked for.
  if (type == "tmpfs" && !mode.empty()) data = absl::StrCat(mode, data.empty() ? "" : ",", data);
  options.copies_up = options.copies_up && type == "tmpfs" && !options.is_bind;
  const bool is_dev = mount.destination == "/dev" || mount.destination == "/dev/";
  unsigned long flags = options.flags;
  // What is still to be filled becomes read-only later.
  if ((is_dev && type == "tmpfs") || options.copies_up) flags &= ~static_cast<unsigned long>(MS_RDONLY);
  if (options.is_bind) {
    flags = MS_BIND | (options.is_recursive_bind ? MS_REC : 0);
    type.clear();
    data.clear();
  }
  std::string source = mount.source;
  UniqueFd in_volume;
  if (options.is_bind && IsInMemoryVolume(source)) {
    ASSIGN_OR_RETURN(in_volume, OpenInMemoryVolume(source));
    source = Magic(in_volume);
  }
  if (::mount(source.c_str(), Magic(target).c_str(), type.empty() ? nullptr : type.c_str(), flags,
              data.empty() ? nullptr : data.c_str()) != 0 &&
      !(errno == EPERM && type == "sysfs" && BindSysfs(target, flags))) {
    return SystemError(errno, what);
  }
  // The descriptor made before names what the mount now covers, so the target is resolved anew.
  ASSIGN_OR_RETURN(UniqueFd mounted, OpenInRoot(root_fd, mount.destination, O_PATH));
  if (options.copies_up) {
    RETURN_IF_ERROR(Annotate(CopyCovered(target, mounted), what));
    if (options.flags & MS_RDONLY && !is_dev)
      RETURN_IF_ERROR(SetAttributes(mounted, {.set = MOUNT_ATTR_RDONLY}, 0, what));
  }
  return Annotate(FinishMount(mounted, options), what);
}

absl::Status MakePathReadonly(const std::string& path) {
  if (::mount(path.c_str(), path.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return absl::OkStatus();
    return SystemError(errno, absl::StrCat("making \"", path, "\" read-only"));
  }
  UniqueFd fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!fd.valid()) return SystemError(errno, absl::StrCat("opening \"", path, "\""));
  return SetAttributes(fd, {.set = MOUNT_ATTR_RDONLY}, 0, absl::StrCat("making \"", path, "\" read-only"));
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
    return absl::FailedPreconditionError(absl::StrCat(what, ": the container's ", kNull, " is not the null device"));
  }
  if (::mount(kNull, path.c_str(), nullptr, MS_BIND, nullptr) == 0) return absl::OkStatus();
  return SystemError(errno, what);
}

}  // namespace kata::agent
