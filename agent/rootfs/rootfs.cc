// SPDX-License-Identifier: Apache-2.0
#include "agent/rootfs/rootfs.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "agent/base/errors.h"
#include "agent/oci/sysctls.h"
#include "agent/pause/pause.h"
#include "agent/rootfs/mounts.h"
#include "proto/base/in_root.h"
#include "proto/base/mount_options.h"

namespace kata::agent {
namespace {

bool IsDev(const std::string& path) { return path == "/dev" || path == "/dev/"; }

// Whether the image's /dev is ours to fill: not when the spec binds one in.
bool FillsDev(const ContainerSpec& spec) {
  for (const Mount& mount : spec.mounts) {
    if (IsDev(mount.destination)) return !ParseMountOptions(mount.options).is_bind && mount.type != "bind";
  }
  return true;
}

// In a user namespace nobody may make a device: the guest's own is bound.
absl::Status BindDevice(int root_fd, const Device& device) {
  const std::string what = absl::StrCat("creating device \"", device.path, "\"");
  const std::string& source = device.source.empty() ? device.path : device.source;
  struct stat info {};
  const bool same = ::stat(source.c_str(), &info) == 0 && (info.st_mode & S_IFMT) == device.type &&
                    info.st_rdev == makedev(device.major, device.minor);
  if (!same) {
    return absl::InvalidArgumentError(absl::StrCat(
        what, ": a container with a user namespace gets only devices that the guest has at the same path"));
  }
  ASSIGN_OR_RETURN(UniqueFd target, MakeInRoot(root_fd, device.path, false));
  const std::string place = absl::StrCat("/proc/self/fd/", target.get());
  if (::mount(source.c_str(), place.c_str(), nullptr, MS_BIND, nullptr) != 0) return SystemError(errno, what);
  return absl::OkStatus();
}

absl::Status MakeDevice(int root_fd, const Device& device, bool binds_devices) {
  const size_t slash = device.path.rfind('/');
  const std::string parent = device.path.substr(0, slash);
  const std::string name = device.path.substr(slash + 1);
  ASSIGN_OR_RETURN(UniqueFd dir, MakeInRoot(root_fd, parent.empty() ? "/" : parent, true));
  const std::string what = absl::StrCat("creating device \"", device.path, "\"");
  if (binds_devices && device.type != S_IFIFO) return BindDevice(root_fd, device);
  if (::mknodat(dir.get(), name.c_str(), device.type | device.mode, makedev(device.major, device.minor)) != 0) {
    if (errno != EEXIST) return SystemError(errno, what);
    struct stat info {};
    if (::fstatat(dir.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return SystemError(errno, what);
    const bool same = (info.st_mode & S_IFMT) == device.type &&
                      (device.type == S_IFIFO || info.st_rdev == makedev(device.major, device.minor));
    if (same) return absl::OkStatus();
    if (::unlinkat(dir.get(), name.c_str(), 0) != 0 ||
        ::mknodat(dir.get(), name.c_str(), device.type | device.mode, makedev(device.major, device.minor)) != 0) {
      return SystemError(errno, what);
    }
  }
  if (::fchownat(dir.get(), name.c_str(), device.uid, device.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return SystemError(errno, what);
  }
  return absl::OkStatus();
}

absl::Status MakeLink(int dev_fd, const char* target, const char* name) {
  if (::symlinkat(target, dev_fd, name) != 0 && errno != EEXIST) {
    return SystemError(errno, absl::StrCat("linking \"/dev/", name, "\""));
  }
  return absl::OkStatus();
}

absl::Status FillDev(int root_fd, const ContainerSpec& spec) {
  struct Default {
    const char* path;
    unsigned major, minor;
  };
  static constexpr Default kDefaults[] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
                                          {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};
  // The umask would take away the device modes.
  const mode_t umask_before = ::umask(0);
  absl::Status status;
  for (const Default& item : kDefaults) {
    Device device{.path = item.path, .type = S_IFCHR, .major = item.major, .minor = item.minor};
    if (status.ok()) status = MakeDevice(root_fd, device, spec.namespaces.has_user);
  }
  for (const Device& device : spec.devices) {
    if (status.ok()) status = MakeDevice(root_fd, device, spec.namespaces.has_user);
  }
  ::umask(umask_before);
  RETURN_IF_ERROR(status);
  ASSIGN_OR_RETURN(UniqueFd dev, OpenInRoot(root_fd, "/dev", O_PATH | O_DIRECTORY));
  // An image may bring a ptmx node of its own, which would reach the wrong devpts instance.
  ::unlinkat(dev.get(), "ptmx", 0);
  RETURN_IF_ERROR(MakeLink(dev.get(), "pts/ptmx", "ptmx"));
  RETURN_IF_ERROR(MakeLink(dev.get(), "/proc/self/fd", "fd"));
  RETURN_IF_ERROR(MakeLink(dev.get(), "/proc/self/fd/0", "stdin"));
  RETURN_IF_ERROR(MakeLink(dev.get(), "/proc/self/fd/1", "stdout"));
  return MakeLink(dev.get(), "/proc/self/fd/2", "stderr");
}

absl::Status Pivot(int root_fd, const std::string& root) {
  if (::fchdir(root_fd) != 0) return SystemError(errno, absl::StrCat("entering \"", root, "\""));
  // Old and new root on the same directory: the old one then lies on top and is taken off.
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return SystemError(errno, absl::StrCat("pivoting into \"", root, "\""));
  if (::umount2(".", MNT_DETACH) != 0) return SystemError(errno, "unmounting the old root");
  if (::chdir("/") != 0) return SystemError(errno, "entering the new root");
  return absl::OkStatus();
}

// A volume there could lead a mask to a place of its choice and leave the true one open. Without
// anything there is nothing to hide.
absl::Status CheckProcOf(const std::string& path, const char* doing) {
  if (path.rfind("/proc/", 0) != 0 || ::access(path.c_str(), F_OK) != 0) return absl::OkStatus();
  UniqueFd proc(::open("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (proc.valid() && IsProcfs(proc.get())) return absl::OkStatus();
  return NotProcfs(absl::StrCat(doing, " \"", path, "\""));
}

absl::Status WriteSysctls(const ContainerSpec& spec) {
  // A namespace's root may not: WriteSysctlsFor has.
  if (spec.namespaces.has_user) return absl::OkStatus();
  for (const auto& [key, value] : spec.sysctls) RETURN_IF_ERROR(WriteSysctl(key, value));
  return absl::OkStatus();
}

}  // namespace

absl::Status EnterRootfs(const ContainerSpec& spec) {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return SystemError(errno, "making the mounts private");
  }
  if (spec.is_sandbox) {
    // In the guest's /proc, since its own root will have none.
    RETURN_IF_ERROR(WriteSysctls(spec));
    RETURN_IF_ERROR(MountPauseRoot(spec.root_path));
  }
  const char* root = spec.root_path.c_str();
  if (::mount(root, root, nullptr, MS_BIND | MS_REC, nullptr) != 0) {
    return SystemError(errno, absl::StrCat("binding root \"", spec.root_path, "\""));
  }
  UniqueFd root_fd(::open(root, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root_fd.valid()) return SystemError(errno, absl::StrCat("opening root \"", spec.root_path, "\""));
  for (const Mount& mount : spec.mounts) RETURN_IF_ERROR(MountInRoot(root_fd.get(), mount));
  if (FillsDev(spec)) RETURN_IF_ERROR(FillDev(root_fd.get(), spec));
  return Pivot(root_fd.get(), spec.root_path);
}

absl::Status SealRootfs(const ContainerSpec& spec) {
  if (!spec.is_sandbox) RETURN_IF_ERROR(WriteSysctls(spec));
  for (const Mount& mount : spec.mounts) {
    const MountOptions options = ParseMountOptions(mount.options);
    if (!IsDev(mount.destination) || mount.type != "tmpfs" || !(options.flags & MS_RDONLY)) continue;
    if (::mount(nullptr, "/dev", nullptr, MS_REMOUNT | MS_BIND | options.flags, nullptr) != 0) {
      return SystemError(errno, "making \"/dev\" read-only");
    }
  }
  if (!spec.rootfs_propagation.empty()) {
    for (unsigned long flag : ParseMountOptions({spec.rootfs_propagation}).propagation) {
      if (::mount(nullptr, "/", nullptr, flag, nullptr) != 0)
        return SystemError(errno, "setting the root's propagation");
    }
  }
  for (const std::string& path : spec.readonly_paths) {
    RETURN_IF_ERROR(CheckProcOf(path, "making read-only"));
    RETURN_IF_ERROR(MakePathReadonly(path));
  }
  for (const std::string& path : spec.masked_paths) {
    RETURN_IF_ERROR(CheckProcOf(path, "masking"));
    RETURN_IF_ERROR(MaskPath(path));
  }
  // The mount's other attributes stay, which a user namespace may not take away.
  mount_attr read_only{};
  read_only.attr_set = MOUNT_ATTR_RDONLY;
  if (spec.root_is_readonly && ::mount_setattr(AT_FDCWD, "/", 0, &read_only, sizeof(read_only)) != 0) {
    return SystemError(errno, "making the root read-only");
  }
  return absl::OkStatus();
}

absl::Status BindConsole(const std::string& path) {
  UniqueFd console(::open("/dev/console", O_CREAT | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666));
  if (!console.valid() && errno != ENXIO) return SystemError(errno, "creating \"/dev/console\"");
  if (::mount(path.c_str(), "/dev/console", nullptr, MS_BIND, nullptr) != 0) {
    return SystemError(errno, absl::StrCat("binding \"", path, "\" to \"/dev/console\""));
  }
  return absl::OkStatus();
}

}  // namespace kata::agent
