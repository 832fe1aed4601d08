// SPDX-License-Identifier: Apache-2.0
// The loopback of a pod's network namespace on the host leads to that of the guest: each TCP connection that arrives at
// a LocalhostEntry is dialled there by the agent and carried. Io thread only.
#pragma once

#include <memory>

#include <boost/asio/ip/tcp.hpp>

#include "proto/base/coro.h"
#include "proto/ttrpc/connection.h"
#include "virtcontainers/network/localhost_entry.h"
#include "virtcontainers/network/network_namespace.h"

namespace kata::virtcontainers {

// Connections that are carried at a time; more wait until one of them ends.
inline constexpr size_t kForwardedMax = 64;

class PortForward : public std::enable_shared_from_this<PortForward> {
 public:
  explicit PortForward(asio::any_io_executor executor);

  // Until the agent's connection closes, or Stop.
  Co<absl::Status> Start(asio::thread_pool& pool, std::shared_ptr<const NetworkNamespace> place,
                         std::shared_ptr<ttrpc::Connection> agent);
  // Takes no more, and ends those that are carried with the agent's connection.
  void Stop();

 private:
  using Acceptor = asio::ip::tcp::acceptor;
  static Co<absl::Status> Accept(std::shared_ptr<PortForward> self, std::shared_ptr<Acceptor> acceptor);
  static Co<absl::Status> Carry(std::shared_ptr<PortForward> self, asio::ip::tcp::socket client);
  absl::Status Open(const asio::ip::tcp& family, UniqueFd fd);

  asio::any_io_executor executor_;
  std::shared_ptr<ttrpc::Connection> agent_;
  UniqueFd program_;
  std::vector<std::shared_ptr<Acceptor>> acceptors_;
  size_t carried_ = 0;
  std::shared_ptr<Latch> one_ended_;
  bool is_over_ = false;
};

}  // namespace kata::virtcontainers
