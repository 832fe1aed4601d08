// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/network/resolver_relay.h"

#include <sys/socket.h>

#include <cerrno>
#include <functional>
#include <utility>

#include <absl/cleanup/cleanup.h>
#include <absl/strings/match.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include "proto/base/fd.h"
#include "proto/base/log.h"
#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

using agent::v1::ResolverMessage;
using asio::ip::tcp;
using asio::ip::udp;

constexpr uint32_t kAddress = 0x7f00000b;  // 127.0.0.11
constexpr uint16_t kPort = 53;
constexpr char kAddressInProc[] = " 0B00007F:";  // of /proc/net/udp
constexpr size_t kProcSizeMax = 4u << 20;
constexpr size_t kHeaderSize = 12;  // of a message of DNS
constexpr size_t kNumberSize = 2;   // at its beginning
constexpr size_t kLengthSize = 2;   // before each message of TCP, big-endian

}  // namespace

ResolverRelay::ResolverRelay(asio::any_io_executor executor, asio::thread_pool& pool,
                             std::shared_ptr<const NetworkNamespace> place)
    : executor_(executor), pool_(pool), place_(std::move(place)), datagrams_(executor) {}

bool ResolverRelay::IsThere(const NetworkNamespace& place) {
  bool is_there = false;
  const absl::Status looked = place.Run([&is_there]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::string table, ReadFile("/proc/thread-self/net/udp", kProcSizeMax));
    is_there = absl::StrContains(table, kAddressInProc);
    return absl::OkStatus();
  });
  if (!looked.ok()) log::Debug("looking for a resolver: {}", looked.message());
  return is_there;
}

Co<absl::StatusOr<std::shared_ptr<UniqueFd>>> ResolverRelay::OpenSocket(int type) {
  std::function<absl::StatusOr<std::shared_ptr<UniqueFd>>()> open =
      [place = place_, type]() -> absl::StatusOr<std::shared_ptr<UniqueFd>> {
    auto fd = std::make_shared<UniqueFd>();
    RETURN_IF_ERROR(place->Run([&fd, type]() -> absl::Status {
      fd->reset(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      return fd->valid() ? absl::OkStatus() : ErrnoStatus(errno, "opening a socket to the resolver");
    }));
    return fd;
  };
  co_return co_await RunBlockingFor<std::shared_ptr<UniqueFd>>(pool_, std::move(open));
}

Co<absl::Status> ResolverRelay::Start(std::shared_ptr<ttrpc::Connection> agent) {
  auto self = shared_from_this();
  CO_ASSIGN_OR_RETURN(std::shared_ptr<UniqueFd> fd, co_await OpenSocket(SOCK_DGRAM));
  boost::system::error_code ec;
  datagrams_.assign(udp::v4(), fd->release(), ec);
  if (!ec) datagrams_.connect(udp::endpoint(asio::ip::address_v4(kAddress), kPort), ec);
  if (ec) co_return FromErrorCode(ec, "connecting to the resolver");
  agent::v1::AgentClient client(std::move(agent));
  CO_ASSIGN_OR_RETURN(stream_, co_await client.Resolve());
  if (is_over_) Stop();
  Spawn(executor_, "taking the guest's questions", TakeQuestions(self));
  Spawn(executor_, "taking a resolver's answers", TakeAnswers(self));
  co_return absl::OkStatus();
}

void ResolverRelay::Stop() {
  is_over_ = true;
  if (stream_ != nullptr) stream_->Close();
  boost::system::error_code ignored;
  datagrams_.close(ignored);
}

Co<absl::Status> ResolverRelay::TakeQuestions(std::shared_ptr<ResolverRelay> self) {
  std::shared_ptr<Stream> stream = self->stream_;
  while (!self->is_over_) {
    auto question = co_await stream->Receive();
    if (!question.ok()) break;
    const size_t size = question->message().size();
    if (size < kHeaderSize || size > kRelayedSizeMax) continue;
    if (!question->is_tcp()) {
      self->AskByUdp(*std::move(question));
    } else if (self->connection_count_ < kRelayedConnectionsMax) {
      ++self->connection_count_;
      Spawn(self->executor_, "asking a resolver by TCP", AskByTcp(self, *std::move(question)));
    }
  }
  self->Stop();
  co_return absl::OkStatus();
}

void ResolverRelay::AskByUdp(ResolverMessage question) {
  std::string& text = *question.mutable_message();
  if (questions_.size() >= kRelayedQuestionsMax)
    questions_.erase(questions_.lower_bound(next_number_) == questions_.end() ? questions_.begin()
                                                                              : questions_.lower_bound(next_number_));
  const uint16_t number = next_number_++;
  questions_[number] = {question.id(), {text[0], text[1]}};
  text[0] = static_cast<char>(number >> 8);
  text[1] = static_cast<char>(number & 0xff);
  boost::system::error_code ignored;  // a question that is lost is asked again
  datagrams_.send(asio::buffer(text), 0, ignored);
}

Co<absl::Status> ResolverRelay::TakeAnswers(std::shared_ptr<ResolverRelay> self) {
  std::string buffer(kRelayedSizeMax, '\0');
  std::shared_ptr<Stream> stream = self->stream_;
  for (;;) {
    auto [ec, size] = co_await self->datagrams_.async_receive(asio::buffer(buffer), kTuple);
    if (ec == asio::error::operation_aborted || self->is_over_) co_return absl::OkStatus();
    if (ec || size < kHeaderSize) continue;  // nobody listened
    const auto number =
        static_cast<uint16_t>(static_cast<unsigned char>(buffer[0]) << 8 | static_cast<unsigned char>(buffer[1]));
    const auto at = self->questions_.find(number);
    if (at == self->questions_.end()) continue;
    const Question question = at->second;
    self->questions_.erase(at);
    ResolverMessage answer;
    answer.set_id(question.id);
    answer.set_message(buffer.data(), size);
    answer.mutable_message()->replace(0, kNumberSize, question.number.data(), kNumberSize);
    absl::Status sent = co_await stream->Send(answer);
    if (!sent.ok()) co_return absl::OkStatus();
  }
}

Co<absl::Status> ResolverRelay::AskByTcp(std::shared_ptr<ResolverRelay> self, ResolverMessage question) {
  const absl::Cleanup counted = [&self] { --self->connection_count_; };
  CO_ASSIGN_OR_RETURN(std::shared_ptr<UniqueFd> fd, co_await self->OpenSocket(SOCK_STREAM));
  auto socket = std::make_shared<tcp::socket>(self->executor_, tcp::v4(), fd->release());
  asio::steady_timer timer(self->executor_, kRelayedPatience);
  timer.async_wait([weak = std::weak_ptr<tcp::socket>(socket)](boost::system::error_code ec) {
    boost::system::error_code ignored;
    if (std::shared_ptr<tcp::socket> late = weak.lock(); !ec && late != nullptr) late->close(ignored);
  });
  const tcp::endpoint resolver(asio::ip::address_v4(kAddress), kPort);
  auto [connect_error] = co_await socket->async_connect(resolver, kTuple);
  if (connect_error) co_return absl::OkStatus();
  const size_t size = question.message().size();
  std::string text = {static_cast<char>(size >> 8), static_cast<char>(size & 0xff)};
  text += question.message();
  auto [write_error, written] = co_await asio::async_write(*socket, asio::buffer(text), kTuple);
  if (write_error) co_return absl::OkStatus();
  std::array<unsigned char, kLengthSize> length{};
  auto [length_error, n] = co_await asio::async_read(*socket, asio::buffer(length), kTuple);
  if (length_error) co_return absl::OkStatus();
  text.assign(static_cast<size_t>(length[0]) << 8 | length[1], '\0');
  auto [answer_error, m] = co_await asio::async_read(*socket, asio::buffer(text), kTuple);
  if (answer_error || self->is_over_) co_return absl::OkStatus();
  ResolverMessage answer;
  answer.set_id(question.id());
  answer.set_is_tcp(true);
  answer.set_message(std::move(text));
  std::shared_ptr<Stream> stream = self->stream_;
  absl::Status sent = co_await stream->Send(answer);
  co_return sent.ok() || self->is_over_ ? absl::OkStatus() : sent;
}

}  // namespace kata::virtcontainers
