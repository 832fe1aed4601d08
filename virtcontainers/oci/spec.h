// SPDX-License-Identifier: Apache-2.0
// The OCI spec as the JSON document it is, edited in place for the guest; fields that nobody here
// knows stay. Pure, no I/O.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "virtcontainers/oci/document.h"
#include "virtcontainers/share/idmapped_mount.h"
#include "virtcontainers/share/mount_points.h"
#include "virtcontainers/share/mounts.h"

namespace kata::virtcontainers {

// A host path that the guest must see: bound into the share at `share_name` of the container's
// directory.
struct SharedMount {
  std::string source;      // of the spec; relative ones start in the bundle
  std::string share_name;  // e.g. mounts/3
  ExportOptions options;
  IdMap id_map;  // empty: as it is
};

struct GuestSpec {
  std::string json;         // for the agent
  std::string rootfs_path;  // root.path as the bundle had it
  ExportOptions rootfs_options;
  std::vector<SharedMount> shared_mounts;
  std::vector<MountPoint> mount_points;  // to be made beforehand in a rootfs that is exported read-only
  // Paths among the namespaces that name a process of the host: `pid` must be the machine's.
  struct ProcessNamespace {
    std::string type;
    std::string path;
    int64_t pid = 0;
  };
  std::vector<ProcessNamespace> process_namespaces;
  std::optional<int> oom_score;  // process.oomScoreAdj, which the host's processes have as well
  std::string unknown_fields;    // for one line in the log; empty when all are known
};
struct GuestProcessSpec {
  std::string json;
  std::string unknown_fields;
};

struct BindMount {
  std::string source;
  std::string destination;
  IdMap id_map;  // that its owners are to be seen by; empty for most
  bool is_read_only = false;
};
// Where the guest has a bind mount's source.
struct GuestPlace {
  std::string path;
  bool is_mapped = false;  // by the mount's id_map, which nobody else sees to
};
// The place of a source that the guest has itself; nothing for one of the host.
using GuestSource = std::function<absl::StatusOr<std::optional<GuestPlace>>(const BindMount& bind)>;

// Puts the rootfs at <guest_dir>/rootfs and the sources of bind mounts at <guest_dir>/<share_name>;
// but for those that `guest_source` knows. Host-only parts (hooks but for startContainer, the
// network namespace's path) go. InvalidArgument also for a field that is refused (fields.h).
absl::StatusOr<GuestSpec> MakeGuestSpec(const OciDocument& document, const std::string& guest_dir, bool terminal,
                                        const GuestSource& guest_source);
// Of a sandbox container, which has no root file system, no mounts and no program of an image: InvalidArgument for a
// hook that would run in it.
absl::StatusOr<GuestSpec> MakeSandboxSpec(const OciDocument& document, bool terminal);
// Mounts below the bind with `source`, a path of the guest, that are writable where it is read-only: `below`, paths in
// it, as binds of their own. One mount of the guest holds them all, which "ro" makes read-only as a whole.
std::string WithWritableMounts(const std::string& spec_json, const std::string& source,
                               const std::vector<std::string>& below);
// The document whose mounts have other sources: by the ones that they have.
std::string WithSources(const std::string& spec_json, const std::map<std::string, std::string>& sources);
// The process object of an exec with `terminal` set to the caller's word.
absl::StatusOr<GuestProcessSpec> MakeGuestProcess(const std::string& process_json, bool terminal);
// Whether an update's `linux.resources` has no refused field.
absl::Status CheckResources(const std::string& resources_json);

}  // namespace kata::virtcontainers
