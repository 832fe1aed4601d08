// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>

#include <absl/strings/match.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

constexpr size_t kMountInfoSizeMax = 16u << 20;
constexpr int kStackedMountsMax = 64;  // mounts at one place, one above the other

struct Flag {
  unsigned long set = 0;
  unsigned long clear = 0;
};
const std::map<std::string, Flag>& Flags() {
  static const auto* flags = new std::map<std::string, Flag>{{"ro", {MS_RDONLY, 0}},
                                                             {"rw", {0, MS_RDONLY}},
                                                             {"nosuid", {MS_NOSUID, 0}},
                                                             {"suid", {0, MS_NOSUID}},
                                                             {"nodev", {MS_NODEV, 0}},
                                                             {"dev", {0, MS_NODEV}},
                                                             {"noexec", {MS_NOEXEC, 0}},
                                                             {"exec", {0, MS_NOEXEC}},
                                                             {"sync", {MS_SYNCHRONOUS, 0}},
                                                             {"noatime", {MS_NOATIME, 0}},
                                                             {"relatime", {MS_RELATIME, 0}},
                                                             {"strictatime", {MS_STRICTATIME, 0}},
                                                             {"nodiratime", {MS_NODIRATIME, 0}},
                                                             {"bind", {MS_BIND, 0}},
                                                             {"rbind", {MS_BIND | MS_REC, 0}},
                                                             {"defaults", {0, 0}}};
  return *flags;
}
const std::map<std::string, unsigned long>& Propagations() {
  static const auto* values = new std::map<std::string, unsigned long>{
      {"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE | MS_REC},
      {"shared", MS_SHARED},         {"rshared", MS_SHARED | MS_REC},
      {"slave", MS_SLAVE},           {"rslave", MS_SLAVE | MS_REC},
      {"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE | MS_REC}};
  return *values;
}

absl::Status MountOne(const RootfsMount& mount, const std::string& target) {
  const MountOptions options = ParseMountOptions(mount.options);
  const std::string what =
      absl::StrCat("mounting \"", mount.source, "\" (", mount.type, ") at \"", target, "\"");
  const unsigned long bind_flags = options.flags & (MS_BIND | MS_REC);
  if (::mount(mount.source.c_str(), target.c_str(), mount.type.c_str(),
              (options.flags & MS_BIND) ? bind_flags : options.flags, options.data.c_str()) != 0) {
    return ErrnoStatus(errno, what);
  }
  // A bind takes its own flags only by a second call.
  const unsigned long rest = options.flags & ~static_cast<unsigned long>(MS_BIND | MS_REC);
  if ((options.flags & MS_BIND) && rest != 0 &&
      ::mount(nullptr, target.c_str(), nullptr, MS_REMOUNT | MS_BIND | rest, nullptr) != 0) {
    return ErrnoStatus(errno, what);
  }
  if (options.propagation != 0 &&
      ::mount(nullptr, target.c_str(), nullptr, options.propagation, nullptr) != 0) {
    return ErrnoStatus(errno, what);
  }
  return absl::OkStatus();
}

// The image decides what lies at the target: no link of it is followed.
absl::Status MountBelow(const RootfsMount& mount, const std::string& rootfs) {
  UniqueFd root(::open(rootfs.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return ErrnoStatus(errno, absl::StrCat("opening \"", rootfs, "\""));
  const std::string below(absl::StripPrefix(mount.target, "/"));
  auto target = OpenBeneath(root.get(), below, O_PATH | O_DIRECTORY);
  if (!target.ok())
    return Annotate(target.status(),
                    absl::StrCat("mounting at \"", mount.target, "\" in the rootfs"));
  return MountOne(mount, absl::StrCat("/proc/self/fd/", target->get()));
}

// mountinfo writes blank, tab, newline and backslash as octal.
std::string Unescape(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                               (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

MountOptions ParseMountOptions(const std::vector<std::string>& options) {
  MountOptions out;
  std::vector<std::string> data;
  for (const std::string& option : options) {
    if (auto flag = Flags().find(option); flag != Flags().end()) {
      out.flags = (out.flags | flag->second.set) & ~flag->second.clear;
    } else if (auto propagation = Propagations().find(option);
               propagation != Propagations().end()) {
      out.propagation = propagation->second;
    } else {
      data.push_back(option);
    }
  }
  out.data = absl::StrJoin(data, ",");
  return out;
}

absl::Status MountRootfs(const std::string& rootfs, const std::vector<RootfsMount>& mounts) {
  for (const RootfsMount& mount : mounts) {
    absl::Status status = MakeDirs(rootfs, 0755);
    if (status.ok())
      status = mount.target.empty() ? MountOne(mount, rootfs) : MountBelow(mount, rootfs);
    if (!status.ok()) {
      UnmountBelow(rootfs).IgnoreError();
      return status;
    }
  }
  return absl::OkStatus();
}

absl::Status BindMount(const std::string& source, const std::string& target, bool is_read_only) {
  struct stat info {};
  const std::string what = absl::StrCat("sharing \"", source, "\" with the guest");
  if (::stat(source.c_str(), &info) != 0) return ErrnoStatus(errno, what);
  if (S_ISDIR(info.st_mode)) {
    RETURN_IF_ERROR(MakeDirs(target, 0755));
  } else {
    RETURN_IF_ERROR(MakeDirs(target.substr(0, target.rfind('/')), 0755));
    UniqueFd file(::open(target.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file.valid()) return ErrnoStatus(errno, absl::StrCat("creating \"", target, "\""));
  }
  // Detached until it has its attributes: at no time does a mount made here reach back to the
  // source's place.
  UniqueFd tree(
      ::open_tree(AT_FDCWD, source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
  if (!tree.valid()) return ErrnoStatus(errno, what);
  mount_attr attributes{};
  attributes.propagation = MS_SLAVE;
  if (is_read_only) attributes.attr_set = MOUNT_ATTR_RDONLY;
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes,
                      sizeof(attributes)) != 0) {
    return ErrnoStatus(errno, what);
  }
  if (::move_mount(tree.get(), "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return ErrnoStatus(errno, what);
  }
  return absl::OkStatus();
}

absl::Status UnmountBelow(const std::string& directory) {
  for (int round = 0; round < kStackedMountsMax; ++round) {
    auto text = ReadFile("/proc/self/mountinfo", kMountInfoSizeMax);
    if (!text.ok()) return text.status();
    std::vector<std::string> found;
    for (const auto& line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
      const std::vector<std::string> fields = absl::StrSplit(line, ' ');
      if (fields.size() < 5) continue;
      const std::string place = Unescape(fields[4]);
      if (place == directory || absl::StartsWith(place, directory + "/")) found.push_back(place);
    }
    if (found.empty()) return absl::OkStatus();
    // The topmost only, with what is below them: a path that leads through a volume may lead elsewhere by now, since
    // the guest can rename the volume's directories. Later lines lie deeper or on top.
    for (auto place = found.rbegin(); place != found.rend(); ++place) {
      const bool is_below = std::any_of(found.begin(), found.end(), [&](const std::string& other) {
        return absl::StartsWith(*place, other + "/");
      });
      if (is_below) continue;
      // Lazily only what is in use, for example by a guest that holds a file of it.
      if (::umount2(place->c_str(), UMOUNT_NOFOLLOW) != 0 && errno == EBUSY) {
        ::umount2(place->c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
      }
    }
  }
  return absl::InternalError(absl::StrCat("unmounting below \"", directory, "\": mounts are left"));
}

}  // namespace kata::virtcontainers
