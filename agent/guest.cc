// SPDX-License-Identifier: Apache-2.0
#include "agent/guest.h"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <absl/strings/ascii.h>
#include <absl/strings/str_split.h>

#include "agent/base/errors.h"
#include "agent/base/paths.h"
#include "agent/cgroup/cgroup.h"
#include "agent/cgroup/reserve.h"
#include "proto/base/fd.h"

namespace kata::agent {
namespace {

struct GuestMount {
  const char* type;
  const char* target;
  unsigned long flags;
  const char* data;
};

constexpr GuestMount kMounts[] = {
    {"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr},
    {"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr},
    {"devtmpfs", "/dev", MS_NOSUID, "mode=755"},
    {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666"},
    {"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777"},
    {"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755"},
    {"tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777"},
    // favordynmods: processes enter their cgroup when they are set up, without a wait for all
    // processors each time.
    {"cgroup2", kCgroupRoot, MS_NOSUID | MS_NODEV | MS_NOEXEC, "nsdelegate,favordynmods"},
};

// Set-ups under way at once; one whose file server is stuck stays until that goes on.
constexpr uint64_t kSetUpProcessesMax = 512;

// As a service of a Debian host has them that asks for no limit, as containerd does. The
// containers' processes inherit them, unless their spec has others.
struct InheritedLimit {
  __rlimit_resource resource;
  rlim_t value;  // soft and hard
};
constexpr InheritedLimit kInheritedLimits[] = {
    {RLIMIT_NOFILE, 1048576}, {RLIMIT_NPROC, RLIM_INFINITY}, {RLIMIT_CORE, RLIM_INFINITY}};

absl::Status RaiseLimits() {
  for (const InheritedLimit& limit : kInheritedLimits) {
    const rlimit value{.rlim_cur = limit.value, .rlim_max = limit.value};
    if (::setrlimit(limit.resource, &value) != 0)
      return SystemError(errno, absl::StrCat("setting rlimit ", limit.resource));
  }
  return absl::OkStatus();
}

// As a distribution sets them; the kernel's own default is to protect nothing.
constexpr std::pair<const char*, const char*> kProtections[] = {
    {"/proc/sys/fs/protected_hardlinks", "1"},
    {"/proc/sys/fs/protected_symlinks", "1"},
    {"/proc/sys/fs/protected_fifos", "1"},
    {"/proc/sys/fs/protected_regular", "2"},
};

absl::Status LiftRootOffInitramfs() {
  // pivot_root refuses the initial root file system; a bind of it moved onto "/" is an ordinary
  // mount.
  if (::mkdir("/mnt", 0755) != 0 && errno != EEXIST) return SystemError(errno, "creating \"/mnt\"");
  if (::mount("/", "/mnt", nullptr, MS_BIND | MS_REC, nullptr) != 0) return SystemError(errno, "binding the root");
  if (::chdir("/mnt") != 0) return SystemError(errno, "entering \"/mnt\"");
  if (::mount(".", "/", nullptr, MS_MOVE, nullptr) != 0) return SystemError(errno, "moving the root");
  if (::chroot(".") != 0 || ::chdir("/") != 0) return SystemError(errno, "changing the root");
  return absl::OkStatus();
}

absl::Status BringLoopbackUp() {
  UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return SystemError(errno, "opening a socket");
  ifreq request{};
  ::strncpy(request.ifr_name, "lo", sizeof(request.ifr_name) - 1);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) return SystemError(errno, "bringing \"lo\" up");
  return absl::OkStatus();
}

}  // namespace

std::map<std::string, std::string> ParseCommandLine(absl::string_view text) {
  std::map<std::string, std::string> out;
  for (absl::string_view word : absl::StrSplit(absl::StripAsciiWhitespace(text), ' ', absl::SkipEmpty())) {
    std::pair<std::string, std::string> parts = absl::StrSplit(word, absl::MaxSplits('=', 1));
    out[parts.first] = parts.second;
  }
  return out;
}

absl::Status PrepareGuest() {
  RETURN_IF_ERROR(LiftRootOffInitramfs());
  ::umask(022);
  for (const GuestMount& mount : kMounts) {
    RETURN_IF_ERROR(MakeDirs(mount.target, 0755));
    if (::mount(mount.type, mount.target, mount.type, mount.flags, mount.data) != 0) {
      return SystemError(errno, absl::StrCat("mounting \"", mount.target, "\""));
    }
  }
  for (const auto& [path, value] : kProtections) RETURN_IF_ERROR(WriteExisting(path, value));
  RETURN_IF_ERROR(EnableControllers(kCgroupRoot));
  RETURN_IF_ERROR(MakeDirs(kContainersCgroup, 0755));
  RETURN_IF_ERROR(EnableControllers(kContainersCgroup));
  RETURN_IF_ERROR(ProtectInit());
  RETURN_IF_ERROR(WriteBounds(kContainersCgroup, BoundsOfAll(ReadGuestCapacity())));
  RETURN_IF_ERROR(MakeDirs(kSetUpCgroup, 0755));
  RETURN_IF_ERROR(WriteBounds(kSetUpCgroup, Bounds{.processes = kSetUpProcessesMax}));
  RETURN_IF_ERROR(RaiseLimits());
  RETURN_IF_ERROR(BringLoopbackUp());
  if (::sethostname("kata", 4) != 0) return SystemError(errno, "setting the hostname");
  return absl::OkStatus();
}

void PowerOff() {
  ::sync();
  ::reboot(RB_POWER_OFF);
  // Refused only without the right to do it, that is in a test outside of a guest.
  ::_exit(1);
}

void RebootAfterError() {
  ::sync();
  ::reboot(RB_AUTOBOOT);
  ::_exit(1);
}

}  // namespace kata::agent
