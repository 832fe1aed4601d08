// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/container_mounts.h"

#include <sys/stat.h>

#include <vector>

#include <absl/strings/match.h>

#include "proto/base/fd.h"
#include "proto/base/log.h"
#include "proto/base/status.h"
#include "virtcontainers/guest_own.h"
#include "virtcontainers/mount_points.h"
#include "virtcontainers/mounts.h"
#include "virtcontainers/oci_spec.h"
#include "virtcontainers/rootfs_mounts.h"
#include "virtcontainers/shared_directory.h"

namespace kata::virtcontainers {
namespace {

constexpr size_t kConfigJsonSizeMax = 16u << 20;
// Of one volume that is "rbind", "ro". Each is a mount of the guest; those beyond stay read-only.
constexpr size_t kWritableMountsMax = 256;

struct Export {
  std::string target;
  UniqueFd mount;
};

std::string InBundle(const std::string& bundle, const std::string& path) {
  return absl::StartsWith(path, "/") ? path : absl::StrCat(bundle, "/", path);
}

absl::StatusOr<UniqueFd> OpenRootfs(const ContainerOptions& options, const std::string& sandbox_id,
                                    const std::string& root_path) {
  if (!options.rootfs.empty()) return MakeRootfs(options.rootfs, SharedDirectory(sandbox_id));
  const std::string path = InBundle(options.bundle, root_path);
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return absl::NotFoundError(absl::StrCat("rootfs \"", path, "\" of \"", options.bundle,
                                            "/config.json\": no such directory; correct root.path"));
  }
  return CopyMount(path, /*is_recursive=*/true);
}

// What the guest has itself: its devices, and memory volumes, which are added to `mounts`.
absl::StatusOr<std::optional<std::string>> FindInGuest(ContainerMounts& mounts,
                                                       const std::string& source,
                                                       const std::string& destination) {
  if (IsGuestOwn(source)) return source;
  const std::string notes = absl::StrCat(RuntimeDirectory(mounts.sandbox_id), "/memory");
  ASSIGN_OR_RETURN(auto volume, FindMemoryVolume(source, destination, notes));
  if (!volume.has_value()) return std::nullopt;
  mounts.memory_volumes.push_back(*volume);
  return volume->GuestSource();
}

// The guest has a volume in one mount, which is read-only as a whole; on the host the mounts below it may not be.
absl::Status AddWritableMounts(const std::string& host_path, const GuestSpec& spec, ContainerMounts& mounts) {
  for (const SharedMount& mount : spec.shared_mounts) {
    if (mount.options.read_only != ReadOnly::kTop || !mount.options.is_recursive) continue;
    ASSIGN_OR_RETURN(std::vector<std::string> below,
                     WritableMountsBelow(absl::StrCat(host_path, "/", mount.share_name)));
    if (below.empty()) continue;
    if (below.size() > kWritableMountsMax) {
      log::Warn("bind of \"{}\": of {} writable mounts below it {} stay read-only", mount.source, below.size(),
                below.size() - kWritableMountsMax);
      below.resize(kWritableMountsMax);
    }
    mounts.guest_spec =
        WithWritableMounts(mounts.guest_spec, ContainerGuestPath(mounts.options.id), mount.share_name, below);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status PrepareContainer(ContainerMounts& mounts) {
  const ContainerOptions& options = mounts.options;
  const std::string config_path = absl::StrCat(options.bundle, "/config.json");
  ASSIGN_OR_RETURN(std::string config, ReadFile(config_path, kConfigJsonSizeMax));
  const GuestSource guest_source = [&mounts](const std::string& source,
                                             const std::string& destination) {
    return FindInGuest(mounts, source, destination);
  };
  auto spec =
      MakeGuestSpec(config, ContainerGuestPath(options.id), options.terminal, guest_source);
  if (!spec.ok()) return Annotate(spec.status(), absl::StrCat("reading \"", config_path, "\""));
  mounts.guest_spec = spec->json;
  const std::string host_path = ContainerHostPath(mounts.sandbox_id, options.id);
  std::vector<Export> exports;
  ASSIGN_OR_RETURN(UniqueFd rootfs, OpenRootfs(options, mounts.sandbox_id, spec->rootfs_path));
  MakeMountPoints(rootfs.get(), spec->mount_points);
  RETURN_IF_ERROR(Annotate(ProtectMount(rootfs.get(), spec->rootfs_options), "sharing the rootfs"));
  exports.push_back({absl::StrCat(host_path, "/rootfs"), std::move(rootfs)});
  for (const SharedMount& mount : spec->shared_mounts) {
    ASSIGN_OR_RETURN(UniqueFd tree,
                     CopyMount(InBundle(options.bundle, mount.source), mount.options.is_recursive));
    RETURN_IF_ERROR(
        Annotate(ProtectMount(tree.get(), mount.options), absl::StrCat("sharing \"", mount.source, "\"")));
    exports.push_back({absl::StrCat(host_path, "/", mount.share_name), std::move(tree)});
  }
  return mounts.share->Run([&exports, &host_path, &spec, &mounts]() -> absl::Status {
    for (const Export& entry : exports) RETURN_IF_ERROR(AttachMount(entry.mount.get(), entry.target));
    return AddWritableMounts(host_path, *spec, mounts);
  });
}

absl::Status UndoContainer(const ContainerMounts& mounts) {
  if (mounts.share == nullptr) return absl::OkStatus();
  const std::string host_path = ContainerHostPath(mounts.sandbox_id, mounts.options.id);
  return mounts.share->Run([&host_path]() -> absl::Status {
    RETURN_IF_ERROR(UnmountBelow(host_path));
    return RemoveTree(host_path);
  });
}

}  // namespace kata::virtcontainers
