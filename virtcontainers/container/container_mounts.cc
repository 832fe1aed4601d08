// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/container/container_mounts.h"

#include <sys/stat.h>

#include <map>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>
#include <nlohmann/json.hpp>

#include "proto/base/fd.h"
#include "proto/base/log.h"
#include "proto/base/status.h"
#include "virtcontainers/container/container_disks.h"
#include "virtcontainers/json/members.h"
#include "virtcontainers/oci/pod_mounts.h"
#include "virtcontainers/oci/spec.h"
#include "virtcontainers/share/guest_own.h"
#include "virtcontainers/share/idmapped_mount.h"
#include "virtcontainers/share/mount_points.h"
#include "virtcontainers/share/mounts.h"
#include "virtcontainers/share/rootfs_mounts.h"
#include "virtcontainers/share/shared_directory.h"
#include "virtcontainers/size/container_limits.h"

namespace kata::virtcontainers {
namespace {

// Of one volume that is "rbind", "ro". Each is a mount of the guest; those beyond stay read-only.
constexpr size_t kWritableMountsMax = 256;

struct Export {
  std::string target;
  UniqueFd mount;
};

std::string InBundle(const std::string& bundle, const std::string& path) {
  return absl::StartsWith(path, "/") ? path : absl::StrCat(bundle, "/", path);
}

constexpr char kUidMap[] = "uidmap=";
constexpr char kGidMap[] = "gidmap=";

// "0:100000:65536,…" as containerd writes it: on the disk, shown, how many.
absl::StatusOr<std::vector<IdMapping>> ParseIdMap(absl::string_view text) {
  std::vector<IdMapping> out;
  for (absl::string_view item : absl::StrSplit(text, ',')) {
    const std::vector<absl::string_view> parts = absl::StrSplit(item, ':');
    IdMapping mapping;
    if (parts.size() != 3 || !absl::SimpleAtoi(parts[0], &mapping.container) ||
        !absl::SimpleAtoi(parts[1], &mapping.host) || !absl::SimpleAtoi(parts[2], &mapping.size)) {
      return absl::InvalidArgumentError(absl::StrCat("mapping of ids \"", std::string(text), "\": not one"));
    }
    out.push_back(mapping);
  }
  return out;
}

// Takes the options of containerd's snapshotters for an idmapped rootfs out of its mounts.
absl::StatusOr<IdMap> TakeRootfsIdMap(std::vector<RootfsMount>& mounts) {
  IdMap map;
  map.is_recursive = true;
  for (RootfsMount& mount : mounts) {
    for (const std::string& option : mount.options) {
      if (absl::StartsWith(option, kUidMap)) {
        ASSIGN_OR_RETURN(map.uids, ParseIdMap(option.substr(sizeof(kUidMap) - 1)));
      } else if (absl::StartsWith(option, kGidMap)) {
        ASSIGN_OR_RETURN(map.gids, ParseIdMap(option.substr(sizeof(kGidMap) - 1)));
      }
    }
    std::erase_if(mount.options, [](const std::string& option) {
      return absl::StartsWith(option, kUidMap) || absl::StartsWith(option, kGidMap);
    });
  }
  return map;
}

absl::StatusOr<UniqueFd> OpenRootfs(const ContainerOptions& options, const std::string& sandbox_id,
                                    const std::string& root_path) {
  if (!options.rootfs.empty()) {
    std::vector<RootfsMount> list = options.rootfs;
    ASSIGN_OR_RETURN(const IdMap map, TakeRootfsIdMap(list));
    ASSIGN_OR_RETURN(UniqueFd rootfs, MakeRootfs(list, SharedDirectory(sandbox_id)));
    if (!map.empty()) RETURN_IF_ERROR(Annotate(IdmapMount(rootfs.get(), map), "sharing the rootfs"));
    return rootfs;
  }
  const std::string path = InBundle(options.bundle, root_path);
  struct stat info {};
  const int error = ::stat(path.c_str(), &info) != 0 ? errno : S_ISDIR(info.st_mode) ? 0 : ENOTDIR;
  if (error != 0) {
    return ErrnoStatus(error,
                       absl::StrCat("correct root.path of \"", options.bundle, "/config.json\": \"", path, "\""));
  }
  return CopyMount(path, /*is_recursive=*/true);
}

// Of the host's sockets the guest has its own, which lead to them.
absl::StatusOr<std::optional<GuestPlace>> FindSocket(ContainerMounts& mounts, const BindMount& bind) {
  ASSIGN_OR_RETURN(std::optional<HostSocket> socket,
                   FindHostSocket(InBundle(mounts.options.bundle, bind.source), mounts.socket_rules));
  if (!socket.has_value()) return std::nullopt;
  socket->uid = MappedId(bind.id_map.uids, socket->uid);
  socket->gid = MappedId(bind.id_map.gids, socket->gid);
  mounts.sockets.push_back(*std::move(socket));
  return GuestPlace{absl::StrCat(kGuestSockets, "/", mounts.options.id, "/", mounts.sockets.size() - 1),
                    /*is_mapped=*/true};
}

// What the guest has itself: its devices, sockets, memory volumes, mirrors, and volumes that are disks. All but the
// first are added to `mounts`.
absl::StatusOr<std::optional<GuestPlace>> FindInGuest(ContainerMounts& mounts, const BindMount& bind) {
  if (IsGuestOwn(bind.source)) return GuestPlace{bind.source};
  // A pod's shared memory is that of the namespaces it has, which are the guest's own.
  if (mounts.is_pod && bind.source == kSharedMemory) return GuestPlace{bind.source};
  ASSIGN_OR_RETURN(const std::optional<std::string> direct, TakeDirectVolume(bind.source, mounts));
  if (direct.has_value()) return GuestPlace{*direct};
  auto socket = FindSocket(mounts, bind);
  if (!socket.ok()) return Annotate(socket.status(), absl::StrCat("bind mount at \"", bind.destination, "\""));
  if (socket->has_value()) return socket;
  if (bind.is_read_only && mounts.mirrors != nullptr) {
    const std::string source = InBundle(mounts.options.bundle, bind.source);
    const auto place = mounts.mirrors->Add(mounts.options.id, source, bind.id_map.uids, bind.id_map.gids);
    if (place.has_value()) return GuestPlace{*place, /*is_mapped=*/true};
  }
  const std::string notes = absl::StrCat(RuntimeDirectory(mounts.sandbox_id), "/memory");
  ASSIGN_OR_RETURN(auto volume, FindMemoryVolume(bind.source, bind.destination, notes));
  if (!volume.has_value()) return std::nullopt;
  mounts.memory_volumes.push_back(*volume);
  return GuestPlace{volume->GuestSource()};
}

// The guest has a volume in one mount, which is read-only as a whole; on the host the mounts below it may not be.
absl::Status AddWritableMounts(const std::vector<VolumePlace>& places, const GuestSpec& spec, ContainerMounts& mounts) {
  for (size_t i = 0; i < places.size(); ++i) {
    const SharedMount& mount = spec.shared_mounts[i];
    if (mount.options.read_only != ReadOnly::kTop || !mount.options.is_recursive) continue;
    ASSIGN_OR_RETURN(std::vector<std::string> below, WritableMountsBelow(places[i].host));
    if (below.empty()) continue;
    if (below.size() > kWritableMountsMax) {
      log::Warn("bind of \"{}\": of {} writable mounts below it {} stay read-only", mount.source, below.size(),
                below.size() - kWritableMountsMax);
      below.resize(kWritableMountsMax);
    }
    mounts.guest_spec = WithWritableMounts(mounts.guest_spec, places[i].guest, below);
  }
  return absl::OkStatus();
}

// Where the guest has the volumes of the container, in their order. One with ids of its own is nobody else's: it is
// added to `exports`.
absl::StatusOr<std::vector<VolumePlace>> PlaceVolumes(const GuestSpec& spec, ContainerMounts& mounts,
                                                      std::vector<Export>& exports) {
  const ContainerOptions& options = mounts.options;
  std::vector<VolumePlace> places;
  std::map<std::string, std::string> sources;
  for (const SharedMount& mount : spec.shared_mounts) {
    const std::string source = InBundle(options.bundle, mount.source);
    VolumePlace own{absl::StrCat(ContainerHostPath(mounts.sandbox_id, options.id), "/", mount.share_name),
                    absl::StrCat(ContainerGuestPath(options.id), "/", mount.share_name)};
    if (mount.id_map.empty()) {
      ASSIGN_OR_RETURN(VolumePlace place, mounts.volumes->Add(options.id, source, mount.options));
      sources[own.guest] = place.guest;
      places.push_back(std::move(place));
      continue;
    }
    ASSIGN_OR_RETURN(UniqueFd tree, CopyMount(source, mount.options.is_recursive));
    const std::string what = absl::StrCat("sharing \"", mount.source, "\"");
    RETURN_IF_ERROR(Annotate(ProtectMount(tree.get(), mount.options), what));
    RETURN_IF_ERROR(Annotate(IdmapMount(tree.get(), mount.id_map), what));
    exports.push_back({own.host, std::move(tree)});
    places.push_back(std::move(own));
  }
  mounts.guest_spec = WithSources(mounts.guest_spec, sources);
  return places;
}

absl::StatusOr<GuestSpec> GuestSpecOf(const OciDocument& document, ContainerMounts& mounts) {
  const ContainerOptions& options = mounts.options;
  if (options.is_sandbox) return MakeSandboxSpec(document, options.terminal);
  const GuestSource guest_source = [&mounts](const BindMount& bind) { return FindInGuest(mounts, bind); };
  return MakeGuestSpec(document, ContainerGuestPath(options.id), options.terminal, guest_source);
}

absl::StatusOr<Export> ExportRootfs(const GuestSpec& spec, const ContainerMounts& mounts) {
  ASSIGN_OR_RETURN(UniqueFd rootfs, OpenRootfs(mounts.options, mounts.sandbox_id, spec.rootfs_path));
  MakeMountPoints(rootfs.get(), spec.mount_points);
  RETURN_IF_ERROR(Annotate(ProtectMount(rootfs.get(), spec.rootfs_options), "sharing the rootfs"));
  return Export{absl::StrCat(ContainerHostPath(mounts.sandbox_id, mounts.options.id), "/rootfs"), std::move(rootfs)};
}

}  // namespace

absl::Status PrepareContainer(ContainerMounts& mounts) {
  const ContainerOptions& options = mounts.options;
  const std::string config_path = absl::StrCat(options.bundle, "/config.json");
  std::shared_ptr<const OciDocument> document = options.document;
  if (document == nullptr) {
    ASSIGN_OR_RETURN(document, OciDocument::Read(options.bundle));
  }
  auto host_namespaces = CheckHostNamespaces(*document, mounts.host_namespaces);
  if (!host_namespaces.ok()) return Annotate(host_namespaces.status(), absl::StrCat("reading \"", config_path, "\""));
  for (const std::string& type : *host_namespaces)
    log::Warn("container \"{}\": its {} namespace is the machine's own, not the host's", options.id, type);
  if (mounts.is_pod) document = WithPodMounts(*document, mounts.pod_etc_directory);
  auto hooks = HostHooks::Make(*document, options.id, options.bundle, HooksDirectory(mounts.sandbox_id));
  if (!hooks.ok()) return Annotate(hooks.status(), absl::StrCat("reading \"", config_path, "\""));
  mounts.hooks = std::make_shared<const HostHooks>(*std::move(hooks));
  auto spec = GuestSpecOf(*document, mounts);
  if (!spec.ok()) return Annotate(spec.status(), absl::StrCat("reading \"", config_path, "\""));
  if (!spec->unknown_fields.empty())
    log::Warn("\"{}\": fields without effect, since they are not known here: {}", config_path, spec->unknown_fields);
  mounts.guest_spec = spec->json;
  mounts.process_namespaces = spec->process_namespaces;
  mounts.oom_score = spec->oom_score;
  if (options.is_sandbox) return absl::OkStatus();
  mounts.limits = ReadContainerLimits(MemberOf(MemberOf(document->json(), "linux"), "resources"));
  std::vector<Export> exports;
  ASSIGN_OR_RETURN(const RootfsDisk rootfs_disk, TakeRootfsDisk(*document, mounts));
  if (rootfs_disk != RootfsDisk::kWhole) {
    if (rootfs_disk == RootfsDisk::kWrites) spec->rootfs_options.read_only = ReadOnly::kAll;
    ASSIGN_OR_RETURN(Export rootfs, ExportRootfs(*spec, mounts));
    exports.push_back(std::move(rootfs));
  }
  RETURN_IF_ERROR(TakeBlockDevices(*document, mounts));
  ASSIGN_OR_RETURN(const std::vector<VolumePlace> places, PlaceVolumes(*spec, mounts, exports));
  return mounts.share->Run([&exports, &places, &spec, &mounts]() -> absl::Status {
    for (const Export& entry : exports) RETURN_IF_ERROR(AttachMount(entry.mount.get(), entry.target));
    return AddWritableMounts(places, *spec, mounts);
  });
}

absl::Status UndoContainer(const ContainerMounts& mounts) {
  if (mounts.share == nullptr) return absl::OkStatus();
  const std::string host_path = ContainerHostPath(mounts.sandbox_id, mounts.options.id);
  if (!mounts.options.is_sandbox) {
    RETURN_IF_ERROR(mounts.share->Run([&host_path]() -> absl::Status {
      RETURN_IF_ERROR(UnmountBelow(host_path));
      return RemoveTree(host_path);
    }));
    if (mounts.volumes != nullptr) RETURN_IF_ERROR(mounts.volumes->Release(mounts.options.id));
  }
  if (mounts.hooks != nullptr) mounts.hooks->Stopped();
  return absl::OkStatus();
}

}  // namespace kata::virtcontainers
