// SPDX-License-Identifier: Apache-2.0
// Connections that the containers of a pod make to sockets of the host. The host asks for the next one of each socket
// of each container by a call of its own, so that the guest names no path, no number and no container: what it answers
// with can lead to that call's socket only. Io thread only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/thread_pool.hpp>

#include "proto/base/coro.h"
#include "proto/ttrpc/connection.h"
#include "proto/tunnel/tunnel.h"

namespace kata::virtcontainers {

// Of a pod, all its sockets together; one more is closed.
inline constexpr size_t kSocketConnectionsMax = 256;
// For a server that has as many connections waiting as it takes; further ones to it wait in the guest meanwhile.
inline constexpr std::chrono::seconds kSocketPatience{10};
// Between two lines of the log about connections that could not be made.
inline constexpr std::chrono::seconds kSocketLogPause{10};

class SocketRelay : public std::enable_shared_from_this<SocketRelay> {
 public:
  SocketRelay(asio::any_io_executor executor, asio::thread_pool& pool);

  // The container is made, and its socket N leads to paths[N]. Until Remove, or the agent's connection closes.
  void Add(std::shared_ptr<ttrpc::Connection> agent, const std::string& container_id, std::vector<std::string> paths);
  // Ends the container's connections. Idempotent.
  void Remove(const std::string& container_id);
  // Ends all of them.
  void Stop();
  size_t carried() const { return carried_; }

 private:
  // A container's, for as long as one of its coroutines is there.
  struct Container {
    std::shared_ptr<ttrpc::Connection> agent;
    std::string id;
    std::set<std::shared_ptr<TunnelStream>> streams;  // that are to end with it
    bool is_over = false;
  };
  struct Socket {
    std::shared_ptr<Container> container;
    uint32_t index = 0;
    std::string path;
  };
  static void End(Container& container);
  static Co<absl::Status> Serve(std::shared_ptr<SocketRelay> self, Socket socket);
  static Co<absl::Status> AskForConnection(std::shared_ptr<TunnelStream> stream, Socket socket);
  // One at a time for each socket: what the guest sends before there is a connection is bounded by the stream's queue.
  Co<absl::StatusOr<std::shared_ptr<TunnelSocket>>> Connect(Socket socket);
  static Co<absl::Status> Carry(std::shared_ptr<SocketRelay> self, Socket socket,
                                std::shared_ptr<TunnelSocket> connection, std::shared_ptr<TunnelStream> stream);
  void Report(const Socket& socket, const absl::Status& why);

  asio::any_io_executor executor_;
  asio::thread_pool& pool_;
  std::map<std::string, std::shared_ptr<Container>> containers_;
  size_t carried_ = 0;
  std::chrono::steady_clock::time_point next_report_;
  size_t unreported_ = 0;
};

}  // namespace kata::virtcontainers
