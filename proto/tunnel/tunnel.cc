// SPDX-License-Identifier: Apache-2.0
#include "proto/tunnel/tunnel.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <utility>

#include <absl/strings/str_cat.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/socket_base.hpp>
#include <boost/asio/write.hpp>

#include "proto/base/status.h"
#include "proto/base/stdio_limits.h"
#include "proto/base/stdio_queue.h"

namespace kata {
namespace {

using agent::v1::TunnelMessage;

// Where a socket is read to, one read at a time: an idle connection holds no buffer.
std::array<char, kStdioChunkMax> read_buffer;
// Less is not read: many small messages would use up the credit.
constexpr size_t kReadMin = 4u << 10;
constexpr size_t kReadCreditMin = StdioCost(kReadMin);

class Tunnel : public std::enable_shared_from_this<Tunnel> {
 public:
  Tunnel(std::shared_ptr<TunnelSocket> socket, std::shared_ptr<TunnelStream> stream, TunnelSide side)
      : executor_(socket->get_executor()),
        socket_(std::move(socket)),
        stream_(std::move(stream)),
        side_(side),
        changed_(std::make_shared<Latch>(executor_)),
        over_(executor_) {}

  Co<absl::Status> Run() {
    auto self = shared_from_this();
    boost::system::error_code error;
    socket_->non_blocking(true, error);
    if (error) Break(FromErrorCode(error, "carrying a connection"));
    if (!is_over_) {
      Spawn(executor_, "receiving for a connection", Receive(self));
      Spawn(executor_, "writing to a connection", Write(self));
      Spawn(executor_, "reading from a connection", Read(self));
    }
    co_await over_.Wait();
    co_return result_;
  }

 private:
  void Wake() { std::exchange(changed_, std::make_shared<Latch>(executor_))->Set(); }

  void End() {
    is_over_ = true;
    boost::system::error_code ignored;
    socket_->close(ignored);
    Wake();
    over_.Set();
  }

  void EndIfDone() {
    const bool is_carried = has_sent_end_ && has_written_end_;
    if (!is_over_ && is_carried && (side_ == TunnelSide::kAnswerer || has_call_ended_)) End();
  }

  void Break(absl::Status reason) {
    if (is_over_) return;
    result_ = std::move(reason);
    boost::system::error_code ignored;
    socket_->set_option(asio::socket_base::linger(true, 0), ignored);
    End();
    stream_->Close();
  }

  absl::Status Take(TunnelMessage message) {
    switch (message.kind_case()) {
      case TunnelMessage::kData: {
        const size_t cost = StdioCost(message.data().size());
        if (message.data().empty() || message.data().size() > kStdioChunkMax || has_end_come_)
          return absl::InvalidArgumentError("the other side sent data that is none");
        if (unreturned_ + cost > kStdioCreditInitial)
          return absl::ResourceExhaustedError("the other side sent more than its credit");
        unreturned_ += cost;
        queue_.Push(0, std::move(*message.mutable_data()));
        return absl::OkStatus();
      }
      case TunnelMessage::kEnd:
        has_end_come_ = true;
        return absl::OkStatus();
      case TunnelMessage::kCredit:
        credit_ = std::min<size_t>(credit_ + message.credit(), kStdioCreditInitial);
        return absl::OkStatus();
      default:
        return absl::InvalidArgumentError("the other side sent a message of no known kind");
    }
  }

  static Co<absl::Status> Receive(std::shared_ptr<Tunnel> self) {
    while (!self->is_over_) {
      auto message = co_await self->stream_->Receive();
      const bool has_come = message.ok();
      absl::Status taken = message.status();
      if (has_come) taken = self->Take(*std::move(message));
      // Nothing more is to come. Credit that crosses with the end of the call is an error to the other side.
      if (!has_come && self->has_end_come_ && self->is_sending_end_) {
        self->has_call_ended_ = true;
        self->EndIfDone();
        break;
      }
      if (!taken.ok()) self->Break(std::move(taken));
      self->Wake();
    }
    co_return absl::OkStatus();
  }

  static Co<absl::Status> Write(std::shared_ptr<Tunnel> self) {
    while (!self->is_over_) {
      if (self->queue_.empty()) {
        if (self->has_end_come_) break;
        std::shared_ptr<Latch> changed = self->changed_;
        co_await changed->Wait();
        continue;
      }
      const StdioChunk chunk = self->queue_.Pop();
      auto [error, size] = co_await asio::async_write(*self->socket_, asio::buffer(chunk.data), kTuple);
      if (error) self->Break(FromErrorCode(error, "writing to the connection"));
      if (self->is_over_) co_return absl::OkStatus();
      self->owed_ += chunk.credit;
      if (self->has_end_come_ || (self->owed_ < kStdioCreditBatch && !self->queue_.empty())) continue;
      TunnelMessage credit;
      credit.set_credit(static_cast<uint32_t>(self->owed_));
      self->unreturned_ -= std::exchange(self->owed_, 0);
      absl::Status ignored = co_await self->stream_->Send(credit);
    }
    if (self->is_over_) co_return absl::OkStatus();
    boost::system::error_code ignored;  // a peer that has gone wants no end
    self->socket_->shutdown(asio::socket_base::shutdown_send, ignored);
    self->has_written_end_ = true;
    self->EndIfDone();
    co_return absl::OkStatus();
  }

  static Co<absl::Status> Read(std::shared_ptr<Tunnel> self) {
    while (!self->is_over_ && !self->has_sent_end_) {
      if (self->credit_ < kReadCreditMin) {
        std::shared_ptr<Latch> changed = self->changed_;
        co_await changed->Wait();
        continue;
      }
      const size_t room = std::min(self->credit_ - kStdioMessageCost, read_buffer.size());
      const ssize_t n = ::recv(self->socket_->native_handle(), read_buffer.data(), room, 0);
      const int error = errno;
      if (n < 0 && error == EINTR) continue;
      if (n < 0 && error == EAGAIN) {
        co_await self->socket_->async_wait(asio::socket_base::wait_read, kTuple);
        continue;
      }
      if (n < 0) {
        self->Break(ErrnoStatus(error, "reading from the connection"));
        break;
      }
      TunnelMessage message;
      if (n == 0) {
        message.set_end(true);
        self->is_sending_end_ = true;
      } else {
        message.set_data(read_buffer.data(), static_cast<size_t>(n));
        self->credit_ -= StdioCost(static_cast<size_t>(n));
      }
      absl::Status sent = co_await self->stream_->Send(message);
      // The receiving loop meets the end of the call as well, and knows what it means.
      self->has_sent_end_ = n == 0;
      if (!sent.ok()) break;
    }
    self->EndIfDone();
    co_return absl::OkStatus();
  }

  asio::any_io_executor executor_;
  std::shared_ptr<TunnelSocket> socket_;
  std::shared_ptr<TunnelStream> stream_;
  TunnelSide side_;
  StdioQueue queue_;                     // bounded by the other side's credit
  size_t unreturned_ = 0;                // credit of what has come and is not given back
  size_t owed_ = 0;                      // the part of it that may be
  size_t credit_ = kStdioCreditInitial;  // ours
  bool has_end_come_ = false;
  bool has_written_end_ = false;
  bool is_sending_end_ = false;
  bool has_sent_end_ = false;
  bool has_call_ended_ = false;
  bool is_over_ = false;
  absl::Status result_;
  std::shared_ptr<Latch> changed_;
  Latch over_;
};

}  // namespace

Co<absl::Status> RunTunnel(std::shared_ptr<TunnelSocket> socket, std::shared_ptr<TunnelStream> stream,
                           TunnelSide side) {
  auto tunnel = std::make_shared<Tunnel>(std::move(socket), std::move(stream), side);
  co_return co_await tunnel->Run();
}

}  // namespace kata
