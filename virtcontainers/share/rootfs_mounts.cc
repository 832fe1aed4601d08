// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/share/rootfs_mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <absl/strings/match.h>
#include <absl/strings/strip.h>

#include "proto/base/in_root.h"
#include "proto/base/mount_options.h"
#include "proto/base/status.h"
#include "virtcontainers/share/mounts.h"
#include "virtcontainers/share/overlay_layers.h"
#include "virtcontainers/share/share_namespace.h"
#include "virtcontainers/storage/loop_device.h"

namespace kata::virtcontainers {
namespace {

std::string Magic(const UniqueFd& fd) { return absl::StrCat("/proc/self/fd/", fd.get()); }

// Removes `word`; whether it was there.
bool Take(std::vector<std::string>& words, const char* word) {
  auto at = std::find(words.begin(), words.end(), word);
  if (at == words.end()) return false;
  words.erase(at);
  return true;
}

absl::Status RefuseUnsupported(const RootfsMount& mount, const MountOptions& options) {
  for (const char* prefix : {"fuse.", "fuse3."}) {
    if (absl::StartsWith(mount.type, prefix)) {
      return absl::UnimplementedError(absl::StrCat(
          "type \"", mount.type, "\" needs a program that serves it on the host, which is not started here"));
    }
  }
  if (absl::StrContains(mount.type, "/")) {
    return absl::UnimplementedError(
        absl::StrCat("type \"", mount.type, "\" is for containerd's mount manager, not for a runtime"));
  }
  for (const std::string& word : options.rest) {
    for (const char* prefix : {"X-containerd.", "uidmap=", "gidmap="}) {
      if (absl::StartsWith(word, prefix))
        return absl::UnimplementedError(absl::StrCat("option \"", word, "\" is not supported"));
    }
  }
  return absl::OkStatus();
}

// What lies there now: an earlier mount's root, where there is one. The image decides what the path leads to, inside.
absl::StatusOr<UniqueFd> OpenTarget(const std::string& place, const std::string& target) {
  UniqueFd root(::open(place.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return ErrnoStatus(errno, absl::StrCat("opening \"", place, "\""));
  if (target.empty()) return root;
  return OpenInRoot(root.get(), target, O_PATH);
}

absl::Status Bind(const RootfsMount& mount, const MountOptions& options, const UniqueFd& target) {
  RETURN_IF_ERROR(RefuseUnknownWords(options));
  ASSIGN_OR_RETURN(const UniqueFd tree, CopyMount(mount.source, options.is_recursive_bind));
  mount_attr attributes{};
  attributes.attr_set = options.own.set;
  attributes.attr_clr = options.own.cleared;
  if (!options.own.empty() && ::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) != 0) {
    return ErrnoStatus(errno, "setting its options");
  }
  constexpr unsigned kFlags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  if (::move_mount(tree.get(), "", target.get(), "", kFlags) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, "binding");
}

absl::Status MountFileSystem(const RootfsMount& mount, MountOptions options, const UniqueFd& target) {
  std::string source = mount.source;
  UniqueFd loop;
  if (Take(options.rest, "loop")) {
    LoopOptions loop_options;
    loop_options.is_read_only = (options.flags & MS_RDONLY) != 0;
    loop_options.is_direct = Take(options.rest, "direct-io");
    ASSIGN_OR_RETURN(loop, AttachLoopDevice(mount.source, loop_options, source));
  }
  OverlayLayers layers;
  if (mount.type == "overlay") {
    ASSIGN_OR_RETURN(layers, ShortenLayers(options.rest));
  }
  const bool is_short = !layers.descriptors.empty();
  // Names of descriptors are found from here; the thread is this mount's own.
  if (is_short && ::chdir("/proc/self/fd") != 0) return ErrnoStatus(errno, "entering \"/proc/self/fd\"");
  const std::string data = options.Data();
  const int made = ::mount(source.c_str(), Magic(target).c_str(), mount.type.c_str(), options.flags,
                           data.empty() ? nullptr : data.c_str());
  const int error = errno;
  if (is_short && ::chdir("/") != 0) return ErrnoStatus(errno, "leaving \"/proc/self/fd\"");
  return made == 0 ? absl::OkStatus() : ErrnoStatus(error, "mount");
}

absl::Status MountOne(const RootfsMount& mount, const std::string& place) {
  const MountOptions options = ParseMountOptions(mount.options);
  RETURN_IF_ERROR(RefuseUnsupported(mount, options));
  ASSIGN_OR_RETURN(const UniqueFd target, OpenTarget(place, mount.target));
  if (options.is_bind && (options.flags & MS_REMOUNT) == 0) {
    RETURN_IF_ERROR(Bind(mount, options, target));
  } else {
    RETURN_IF_ERROR(MountFileSystem(mount, options, target));
  }
  if (options.propagation.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const UniqueFd mounted, OpenTarget(place, mount.target));
  for (unsigned long propagation : options.propagation) {
    if (::mount(nullptr, Magic(mounted).c_str(), nullptr, propagation, nullptr) != 0)
      return ErrnoStatus(errno, "setting its propagation");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<UniqueFd> MakeRootfs(const std::vector<RootfsMount>& mounts, const std::string& place) {
  UniqueFd tree;
  const absl::Status made = RunInCopyOfNamespace([&mounts, &place, &tree]() -> absl::Status {
    for (const RootfsMount& mount : mounts) {
      const std::string what = absl::StrCat("mounting \"", mount.source, "\" (", mount.type, ") at \"/",
                                            absl::StripPrefix(mount.target, "/"), "\" of the rootfs");
      RETURN_IF_ERROR(Annotate(MountOne(mount, place), what));
    }
    ASSIGN_OR_RETURN(tree, CopyMount(place, /*is_recursive=*/true));
    return absl::OkStatus();
  });
  if (!made.ok()) return made;
  return tree;
}

}  // namespace kata::virtcontainers
