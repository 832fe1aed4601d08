// SPDX-License-Identifier: Apache-2.0
// Volumes of a sandbox in its share: one mount each, however many of its containers have it. They are the same files
// for the guest's kernel then, so that sockets, fifos, locks and what it remembers of them are between all of these
// containers. Blocking; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include <absl/status/statusor.h>

#include "virtcontainers/share/mounts.h"
#include "virtcontainers/share/share_namespace.h"

namespace kata::virtcontainers {

// Where a volume is, on the host in the sandbox's mount namespace and in the guest.
struct VolumePlace {
  std::string host;
  std::string guest;
};

class SharedVolumes {
 public:
  SharedVolumes(std::string sandbox_id, std::shared_ptr<const ShareNamespace> share)
      : sandbox_id_(std::move(sandbox_id)), share_(std::move(share)) {}

  // The host's `source` for a container, which holds it until Release. A container that may only read it gets what
  // others may write to as well, and is kept from that by the guest: the guest as a whole has the right anyway.
  absl::StatusOr<VolumePlace> Add(const std::string& container_id, const std::string& source,
                                  const ExportOptions& options);
  // What no other container has is unmounted. Idempotent.
  absl::Status Release(const std::string& container_id);

 private:
  // The source's mount on the host, which decides what may be done with it and what is mounted below, and its file.
  struct Source {
    uint64_t mount = 0;
    uint64_t device = 0;
    uint64_t inode = 0;
    bool is_recursive = false;
    bool is_private = false;
    auto operator<=>(const Source&) const = default;
  };
  struct Volume {
    Source source;
    ReadOnly read_only = ReadOnly::kNo;
    VolumePlace place;
    std::set<std::string> containers;
  };
  Volume* Find(const Source& source, ReadOnly read_only);

  const std::string sandbox_id_;
  const std::shared_ptr<const ShareNamespace> share_;
  std::mutex mutex_;
  std::map<uint64_t, Volume> volumes_;  // by number, which is its name
  uint64_t next_ = 0;
};

}  // namespace kata::virtcontainers
