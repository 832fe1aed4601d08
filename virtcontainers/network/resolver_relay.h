// SPDX-License-Identifier: Apache-2.0
// Docker's resolver, which listens at 127.0.0.11 in the network namespaces of containers on its own networks, for a
// guest, whose 127.0.0.11 is another (agent/network/resolver.h). What the guest asks is bounded in number and size and
// goes to that address alone. Io thread only, but for IsThere.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>

#include "proto/base/coro.h"
#include "proto/schema/agent.ttrpc.h"
#include "virtcontainers/network/network_namespace.h"

namespace kata::virtcontainers {

// Questions under way: by UDP the oldest is forgotten for the next, by TCP no more are taken.
inline constexpr size_t kRelayedQuestionsMax = 256;
inline constexpr size_t kRelayedConnectionsMax = 32;
inline constexpr size_t kRelayedSizeMax = 65535;  // of a message, as DNS has it
inline constexpr std::chrono::seconds kRelayedPatience{10};

class ResolverRelay : public std::enable_shared_from_this<ResolverRelay> {
 public:
  ResolverRelay(asio::any_io_executor executor, asio::thread_pool& pool, std::shared_ptr<const NetworkNamespace> place);

  // Whether somebody listens at 127.0.0.11 there. Blocking.
  static bool IsThere(const NetworkNamespace& place);
  // Relays until the agent's connection closes, or Stop.
  Co<absl::Status> Start(std::shared_ptr<ttrpc::Connection> agent);
  void Stop();

 private:
  using Stream = ttrpc::MessageStream<agent::v1::ResolverMessage, agent::v1::ResolverMessage>;
  struct Question {
    uint32_t id = 0;                  // the guest's
    std::array<char, 2> number = {};  // the message's own
  };
  static Co<absl::Status> TakeQuestions(std::shared_ptr<ResolverRelay> self);
  static Co<absl::Status> TakeAnswers(std::shared_ptr<ResolverRelay> self);
  static Co<absl::Status> AskByTcp(std::shared_ptr<ResolverRelay> self, agent::v1::ResolverMessage question);
  void AskByUdp(agent::v1::ResolverMessage question);
  Co<absl::StatusOr<std::shared_ptr<UniqueFd>>> OpenSocket(int type);

  asio::any_io_executor executor_;
  asio::thread_pool& pool_;
  std::shared_ptr<const NetworkNamespace> place_;
  std::shared_ptr<Stream> stream_;
  asio::ip::udp::socket datagrams_;
  // By the number that the message has on its way: those of several askers may be alike.
  std::map<uint16_t, Question> questions_;
  uint16_t next_number_ = 0;
  size_t connection_count_ = 0;
  bool is_over_ = false;
};

}  // namespace kata::virtcontainers
