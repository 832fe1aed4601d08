// SPDX-License-Identifier: Apache-2.0
// Docker's resolver for the sandbox's containers. It listens in the pod's network namespace, on the host; what
// containers ask it, by UDP or TCP, the agent takes, and the host asks there. Io thread only.
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

namespace kata::agent {

using ResolverStream = ttrpc::MessageStream<v1::ResolverMessage, v1::ResolverMessage>;

// Questions that wait for their answers: the oldest is forgotten for the next.
inline constexpr size_t kQuestionsMax = 256;
inline constexpr size_t kQuestionSizeMax = 4096;  // by UDP
inline constexpr size_t kResolverConnectionsMax = 32;
// For a question, and for its answer.
inline constexpr std::chrono::seconds kResolverPatience{20};

class Resolver : public std::enable_shared_from_this<Resolver> {
 public:
  // `cgroup`: whose programs are to find it.
  Resolver(asio::any_io_executor executor, std::string cgroup);

  // Until the host ends the call. A later call takes over.
  Co<absl::Status> Serve(std::shared_ptr<ResolverStream> stream);

 private:
  struct Connection;
  struct Question {
    asio::ip::udp::endpoint asker;
    std::shared_ptr<Connection> connection;  // null: by UDP
  };
  absl::Status Open();
  uint32_t Remember(Question question);
  void Answer(const v1::ResolverMessage& message);
  static Co<absl::Status> TakeDatagrams(std::shared_ptr<Resolver> self);
  static Co<absl::Status> TakeConnections(std::shared_ptr<Resolver> self);
  static Co<absl::Status> ServeConnection(std::shared_ptr<Resolver> self, std::shared_ptr<Connection> connection);

  asio::any_io_executor executor_;
  std::string cgroup_;
  asio::ip::udp::socket datagrams_;
  asio::ip::tcp::acceptor connections_;
  size_t connection_count_ = 0;
  std::shared_ptr<ResolverStream> stream_;  // null: nobody answers
  std::map<uint32_t, Question> questions_;
  uint32_t next_id_ = 0;
  std::array<char, kQuestionSizeMax> buffer_{};
};

}  // namespace kata::agent
