// SPDX-License-Identifier: Apache-2.0
// Unix sockets of the host for the sandbox's containers: each is a listening socket in a directory of the agent's, to
// be bound into the container, and the host takes its connections one after the other. Io thread only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "proto/base/coro.h"
#include "proto/schema/agent.pb.h"
#include "proto/tunnel/tunnel.h"

namespace kata::agent {

inline constexpr int kHostSocketsMax = 64;  // of one container
// Connections that wait until the host takes them; a program that makes one more waits too.
inline constexpr int kHostSocketBacklog = 128;

class HostSockets {
 public:
  // `directory` is made when it is needed.
  HostSockets(asio::any_io_executor executor, std::string directory);

  // Listens at <directory>/<container_id>/<index> for each, with its mode and owner. `container_id` is a usable name
  // (CheckId) and has none yet. ResourceExhausted above kHostSocketsMax. Nothing is left behind on failure.
  absl::Status Open(const std::string& container_id, const google::protobuf::RepeatedPtrField<v1::HostSocket>& sockets);
  // Takes them away; calls that wait for a connection end with Cancelled. Idempotent.
  void Close(const std::string& container_id);
  // A whole call of AcceptSocket: from its first message until the connection that it takes has ended. A later call for
  // the same socket takes the place of one that waits, which ends with Cancelled; NotFound for a socket that is not
  // there.
  Co<absl::Status> Serve(std::shared_ptr<TunnelStream> stream);

 private:
  struct Listener;
  absl::StatusOr<std::shared_ptr<Listener>> Listen(int directory, size_t index, const v1::HostSocket& socket);
  absl::StatusOr<std::shared_ptr<Listener>> Find(const v1::TunnelMessage::Accept& wanted) const;
  static Co<absl::StatusOr<std::shared_ptr<TunnelSocket>>> Accept(std::shared_ptr<Listener> listener);

  asio::any_io_executor executor_;
  const std::string directory_;
  std::map<std::string, std::vector<std::shared_ptr<Listener>>> listeners_;  // by container
};

}  // namespace kata::agent
