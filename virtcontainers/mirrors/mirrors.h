// SPDX-License-Identifier: Apache-2.0
// Volumes that the kubelet writes anew while containers read them: ConfigMaps, Secrets, tokens, the downward API. The
// kernel tells no watcher in a guest (inotify) what the host has changed in a shared directory, so such a volume is not
// shared: the guest has a copy of its own, in which the agent makes each change that the host sees, in the kubelet's
// order.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <absl/status/statusor.h>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "proto/base/coro.h"
#include "proto/base/fd.h"
#include "proto/schema/agent.pb.h"
#include "proto/ttrpc/connection.h"
#include "virtcontainers/id_mapping.h"

namespace kata::virtcontainers {

// <kGuestMirrors>/N is number N (kMirrors of agent/base/paths.h).
inline constexpr char kGuestMirrors[] = "/run/kata-containers/mirrors";
// Of a pod; further ones are shared as other volumes are.
inline constexpr size_t kMirrorsMax = 64;
inline constexpr size_t kMirroredBytesMax = 8u << 20;
// From one look at what has changed to the next.
inline constexpr std::chrono::milliseconds kMirrorPause{50};

class Mirrors : public std::enable_shared_from_this<Mirrors> {
 public:
  Mirrors(asio::any_io_executor executor, asio::thread_pool& pool);

  // Where the guest will have the copy of `source`, whose owners it is to show as the maps say; nothing for what is no
  // volume of this kind, or does not fit. Held for the container until Remove. Blocking; any thread.
  std::optional<std::string> Add(const std::string& container_id, const std::string& source,
                                 const std::vector<IdMapping>& uids, const std::vector<IdMapping>& gids);
  // Whether the container has any. Any thread.
  bool Has(const std::string& container_id) const;

  // What follows is for the io thread.

  // The container's volumes are in the guest when it returns, as they are on the host by then; changes follow.
  Co<absl::Status> Fill(std::shared_ptr<ttrpc::Connection> agent, std::string container_id);
  // The guest keeps copies that no container has, as they are: the pod may have use for them again. Idempotent.
  void Remove(const std::string& container_id);
  // Nothing is watched from now on.
  void Stop();

 private:
  using Numbers = std::set<uint64_t>;
  struct Key {
    uint64_t device = 0;
    uint64_t inode = 0;
    std::string maps;
    auto operator<=>(const Key&) const = default;
  };
  struct Volume {
    Key key;
    std::string source;
    std::vector<IdMapping> uids;
    std::vector<IdMapping> gids;
    size_t bytes = 0;
    int watch = -1;  // of inotify; -1: there is none
    std::set<std::string> containers;
  };
  using Requests = std::vector<agent::v1::SetMirrorRequest>;

  absl::StatusOr<std::string> AddVolume(const std::string& container_id, const std::string& source,
                                        const std::vector<IdMapping>& uids, const std::vector<IdMapping>& gids);
  absl::Status Watch(Volume& volume, int directory);
  // Volumes that have changed since it was last asked.
  Numbers TakeNews();
  // As it is now; nothing when it is not there any more.
  absl::StatusOr<std::optional<agent::v1::SetMirrorRequest>> Read(uint64_t number);
  Requests ReadAll(Numbers numbers);
  Numbers Of(const std::string& container_id) const;
  Co<absl::Status> Tell(std::shared_ptr<ttrpc::Connection> agent, Requests requests);
  static Co<absl::Status> Follow(std::shared_ptr<Mirrors> self, std::shared_ptr<ttrpc::Connection> agent);

  asio::any_io_executor executor_;
  asio::thread_pool& pool_;
  mutable std::mutex mutex_;
  UniqueFd inotify_;                    // guarded, as all below up to news_
  std::map<uint64_t, Volume> volumes_;  // by number
  uint64_t next_ = 1;
  uint64_t version_ = 0;  // of the last look at any volume
  asio::posix::stream_descriptor news_;
  bool is_followed_ = false;
  bool is_over_ = false;
};

}  // namespace kata::virtcontainers
