// SPDX-License-Identifier: Apache-2.0
#include "agent/network/resolver.h"

#include <algorithm>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include "agent/network/resolver_redirect.h"
#include "proto/base/log.h"
#include "proto/base/status.h"

namespace kata::agent {
namespace {

using asio::ip::tcp;
using asio::ip::udp;

constexpr size_t kLengthSize = 2;  // before each message of TCP, big-endian
constexpr int kPortTries = 16;

const asio::ip::address_v4& Address() {
  static const asio::ip::address_v4 address(kResolverAddress);
  return address;
}

}  // namespace

struct Resolver::Connection {
  explicit Connection(tcp::socket accepted) : socket(std::move(accepted)), timer(socket.get_executor()) {}
  tcp::socket socket;
  asio::steady_timer timer;  // closes the socket
  std::shared_ptr<Latch> answered;
  std::string answer;

  static void Limit(const std::shared_ptr<Connection>& connection) {
    connection->timer.expires_after(kResolverPatience);
    connection->timer.async_wait([weak = std::weak_ptr<Connection>(connection)](boost::system::error_code ec) {
      std::shared_ptr<Connection> late = weak.lock();
      if (ec || late == nullptr) return;
      boost::system::error_code ignored;
      late->socket.close(ignored);
      if (late->answered != nullptr) late->answered->Set();
    });
  }
};

Resolver::Resolver(asio::any_io_executor executor, std::string cgroup)
    : executor_(executor), cgroup_(std::move(cgroup)), datagrams_(executor), connections_(executor) {}

// One number for both, which the kernel chooses.
absl::Status Resolver::Open() {
  if (connections_.is_open()) return absl::OkStatus();
  boost::system::error_code ec;
  for (int i = 0; i < kPortTries; ++i) {
    udp::socket datagrams(executor_);
    tcp::acceptor connections(executor_);
    datagrams.open(udp::v4(), ec);
    if (!ec) datagrams.bind(udp::endpoint(Address(), 0), ec);
    if (ec) break;
    const uint16_t port = datagrams.local_endpoint().port();
    connections.open(tcp::v4(), ec);
    if (!ec) connections.bind(tcp::endpoint(Address(), port), ec);
    if (ec) continue;  // another's
    connections.listen(static_cast<int>(kResolverConnectionsMax), ec);
    if (ec) break;
    datagrams.non_blocking(true, ec);
    RETURN_IF_ERROR(RedirectResolver(cgroup_.c_str(), port));
    datagrams_ = std::move(datagrams);
    connections_ = std::move(connections);
    Spawn(executor_, "taking questions", TakeDatagrams(shared_from_this()));
    Spawn(executor_, "taking questions by TCP", TakeConnections(shared_from_this()));
    return absl::OkStatus();
  }
  return FromErrorCode(ec, "opening the resolver's port");
}

Co<absl::Status> Resolver::Serve(std::shared_ptr<ResolverStream> stream) {
  auto self = shared_from_this();
  CO_RETURN_IF_ERROR(Open());
  stream_ = stream;
  absl::Status result;
  while (stream_ == stream && result.ok()) {
    auto message = co_await stream->Receive();
    result = message.status();
    if (message.ok()) Answer(*message);
  }
  if (stream_ == stream) stream_.reset();
  co_return absl::IsOutOfRange(result) ? absl::OkStatus() : result;
}

uint32_t Resolver::Remember(Question question) {
  if (questions_.size() >= kQuestionsMax) questions_.erase(questions_.begin());
  questions_[next_id_] = std::move(question);
  return next_id_++;
}

void Resolver::Answer(const v1::ResolverMessage& message) {
  auto at = questions_.find(message.id());
  if (at == questions_.end()) return;  // too late
  const Question question = std::move(at->second);
  questions_.erase(at);
  if (question.connection != nullptr) {
    question.connection->answer = message.message();
    question.connection->answered->Set();
    return;
  }
  boost::system::error_code ignored;  // an asker that is gone, or does not read
  datagrams_.send_to(asio::buffer(message.message()), question.asker, 0, ignored);
}

Co<absl::Status> Resolver::TakeDatagrams(std::shared_ptr<Resolver> self) {
  udp::endpoint asker;
  for (;;) {
    auto [ec, size] = co_await self->datagrams_.async_receive_from(asio::buffer(self->buffer_), asker, kTuple);
    if (ec == asio::error::operation_aborted) co_return absl::OkStatus();
    if (ec || self->stream_ == nullptr) continue;  // an earlier answer found nobody
    v1::ResolverMessage message;
    message.set_id(self->Remember({asker, nullptr}));
    message.set_message(self->buffer_.data(), size);
    std::shared_ptr<ResolverStream> stream = self->stream_;
    absl::Status sent = co_await stream->Send(message);
    if (!sent.ok()) log::Debug("asking the host's resolver: {}", sent.message());
  }
}

Co<absl::Status> Resolver::TakeConnections(std::shared_ptr<Resolver> self) {
  for (;;) {
    auto [ec, socket] = co_await self->connections_.async_accept(kTuple);
    if (ec == asio::error::operation_aborted) co_return absl::OkStatus();
    if (ec) {
      co_await Sleep(std::chrono::milliseconds(100));  // no descriptors
      continue;
    }
    if (self->stream_ == nullptr || self->connection_count_ >= kResolverConnectionsMax) continue;
    ++self->connection_count_;
    Spawn(self->executor_, "serving a connection to the resolver",
          ServeConnection(self, std::make_shared<Connection>(std::move(socket))));
  }
}

Co<absl::Status> Resolver::ServeConnection(std::shared_ptr<Resolver> self, std::shared_ptr<Connection> connection) {
  tcp::socket& socket = connection->socket;
  while (self->stream_ != nullptr) {
    Connection::Limit(connection);
    std::array<unsigned char, kLengthSize> length{};
    auto [length_error, n] = co_await asio::async_read(socket, asio::buffer(length), kTuple);
    if (length_error) break;
    std::string question(static_cast<size_t>(length[0]) << 8 | length[1], '\0');
    auto [question_error, m] = co_await asio::async_read(socket, asio::buffer(question), kTuple);
    std::shared_ptr<ResolverStream> stream = self->stream_;
    if (question_error || stream == nullptr) break;
    connection->answered = std::make_shared<Latch>(self->executor_);
    connection->answer.clear();
    v1::ResolverMessage message;
    message.set_is_tcp(true);
    message.set_message(std::move(question));
    message.set_id(self->Remember({{}, connection}));
    absl::Status sent = co_await stream->Send(message);
    if (!sent.ok()) break;
    std::shared_ptr<Latch> answered = connection->answered;
    co_await answered->Wait();
    const size_t size = connection->answer.size();
    if (size == 0 || size > UINT16_MAX || !socket.is_open()) break;
    std::string answer = {static_cast<char>(size >> 8), static_cast<char>(size & 0xff)};
    answer += connection->answer;
    auto [write_error, written] = co_await asio::async_write(socket, asio::buffer(answer), kTuple);
    if (write_error) break;
  }
  boost::system::error_code ignored;
  connection->timer.cancel();
  socket.close(ignored);
  --self->connection_count_;
  co_return absl::OkStatus();
}

}  // namespace kata::agent
