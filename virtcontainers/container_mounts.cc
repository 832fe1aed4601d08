// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/container_mounts.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include <absl/strings/match.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"
#include "virtcontainers/mounts.h"
#include "virtcontainers/oci_spec.h"
#include "virtcontainers/shared_directory.h"

namespace kata::virtcontainers {
namespace {

constexpr size_t kConfigJsonSizeMax = 16u << 20;

std::string NotesDirectory(const std::string& sandbox_id) {
  return absl::StrCat(RuntimeDirectory(sandbox_id), "/rootfs");
}
std::string NoteOf(const ContainerMounts& mounts) {
  return absl::StrCat(NotesDirectory(mounts.sandbox_id), "/", mounts.options.id);
}

absl::Status MountGivenRootfs(ContainerMounts& mounts) {
  mounts.rootfs = absl::StrCat(mounts.options.bundle, "/rootfs");
  mounts.is_mounted = true;
  RETURN_IF_ERROR(MakeDirs(NotesDirectory(mounts.sandbox_id), 0700));
  RETURN_IF_ERROR(WriteFileAtomically(NoteOf(mounts), mounts.rootfs, 0600));
  return MountRootfs(mounts.rootfs, mounts.options.rootfs);
}

}  // namespace

absl::Status PrepareContainer(ContainerMounts& mounts) {
  const ContainerOptions& options = mounts.options;
  const std::string config_path = absl::StrCat(options.bundle, "/config.json");
  ASSIGN_OR_RETURN(std::string config, ReadFile(config_path, kConfigJsonSizeMax));
  auto spec = MakeGuestSpec(config, ContainerGuestPath(options.id), options.terminal);
  if (!spec.ok()) return Annotate(spec.status(), absl::StrCat("reading \"", config_path, "\""));
  mounts.guest_spec = spec->json;
  if (!options.rootfs.empty()) {
    RETURN_IF_ERROR(MountGivenRootfs(mounts));
  } else if (absl::StartsWith(spec->rootfs_path, "/")) {
    mounts.rootfs = spec->rootfs_path;
  } else {
    mounts.rootfs = absl::StrCat(options.bundle, "/", spec->rootfs_path);
  }
  struct stat info {};
  if (::stat(mounts.rootfs.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return absl::NotFoundError(absl::StrCat("rootfs \"", mounts.rootfs, "\" of \"", config_path,
                                            "\": no such directory; correct root.path"));
  }
  const std::string host_path = ContainerHostPath(mounts.sandbox_id, options.id);
  RETURN_IF_ERROR(BindMount(mounts.rootfs, absl::StrCat(host_path, "/rootfs"), false));
  for (const SharedMount& mount : spec->shared_mounts) {
    RETURN_IF_ERROR(BindMount(mount.source, absl::StrCat(host_path, "/", mount.share_name),
                              mount.is_read_only));
  }
  return absl::OkStatus();
}

absl::Status UndoContainer(const ContainerMounts& mounts) {
  const std::string host_path = ContainerHostPath(mounts.sandbox_id, mounts.options.id);
  RETURN_IF_ERROR(UnmountBelow(host_path));
  RETURN_IF_ERROR(RemoveTree(host_path));
  if (!mounts.is_mounted) return absl::OkStatus();
  RETURN_IF_ERROR(UnmountBelow(mounts.rootfs));
  ::unlink(NoteOf(mounts).c_str());
  return absl::OkStatus();
}

absl::Status UnmountNotedRootfs(const std::string& sandbox_id) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(NotesDirectory(sandbox_id), error)) {
    auto rootfs = ReadFile(entry.path().string(), PATH_MAX);
    if (!rootfs.ok() || !absl::StartsWith(*rootfs, "/") || !absl::EndsWith(*rootfs, "/rootfs"))
      continue;
    RETURN_IF_ERROR(UnmountBelow(*rootfs));
  }
  return absl::OkStatus();
}

}  // namespace kata::virtcontainers
