// SPDX-License-Identifier: Apache-2.0
#include "proto/ttrpc/session.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "proto/base/status.h"

namespace kata::ttrpc {
namespace {

// Until the peer has hung up as well, which the session's reader sees, or the time is over.
Co<absl::Status> CloseLater(std::shared_ptr<Transport> channel, std::shared_ptr<Latch> ended) {
  co_await ended->WaitFor(kHangUpTimeout);
  channel->Close();
  co_return absl::OkStatus();
}

class HostSession : public Transport {
 public:
  HostSession(asio::any_io_executor executor, std::unique_ptr<Transport> channel, uint64_t nonce)
      : executor_(executor),
        channel_(std::move(channel)),
        ended_(std::make_shared<Latch>(executor)),
        nonce_(nonce),
        answer_(nonce) {}
  ~HostSession() override { Close(); }

  Co<absl::StatusOr<size_t>> ReadSome(std::span<char> buffer) override {
    for (;;) {
      auto size = co_await channel_->ReadSome(buffer);
      if (!size.ok()) {
        ended_->Set();
        co_return size;
      }
      if (is_closed_) continue;
      const size_t rest = answer_.Filter(buffer.first(*size));
      if (rest > 0) co_return rest;
    }
  }

  Co<absl::Status> WriteAll(std::string_view data) override {
    std::string bytes = has_begun_ ? std::string() : SessionPreamble(nonce_);
    has_begun_ = true;
    bytes += SessionChunks(nonce_, data);
    co_return co_await channel_->WriteAll(bytes);
  }

  void Close() override {
    if (std::exchange(is_closed_, true)) return;
    channel_->CloseWrite();
    Spawn(executor_, "hanging up", CloseLater(channel_, ended_));
  }

 private:
  const asio::any_io_executor executor_;
  const std::shared_ptr<Transport> channel_;
  const std::shared_ptr<Latch> ended_;
  const uint64_t nonce_;
  SessionAnswerFinder answer_;
  bool has_begun_ = false;
  bool is_closed_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> MakeHostSession(asio::any_io_executor executor,
                                                           std::unique_ptr<Transport> channel) {
  uint64_t nonce = 0;
  while (nonce == 0) {
    if (::getrandom(&nonce, sizeof(nonce), 0) != static_cast<ssize_t>(sizeof(nonce))) {
      return ErrnoStatus(errno, "making a session's nonce");
    }
  }
  return std::make_unique<HostSession>(std::move(executor), std::move(channel), nonce);
}

class SessionAcceptor::Session : public Transport {
 public:
  Session(std::unique_ptr<Transport> channel, std::shared_ptr<State> state)
      : channel_(std::move(channel)), state_(std::move(state)), answer_(SessionMark(state_->decoder.nonce())) {}

  Co<absl::StatusOr<size_t>> ReadSome(std::span<char> buffer) override {
    SessionDecoder& decoder = state_->decoder;
    while (payload_.empty()) {
      const auto event = state_->has_new_session ? SessionDecoder::Event::kNewSession : decoder.Next();
      if (event == SessionDecoder::Event::kNewSession) {
        state_->has_new_session = true;
        co_return absl::UnavailableError("reading: the host has begun another session");
      }
      if (event == SessionDecoder::Event::kPayload) {
        payload_ = decoder.payload();
        break;
      }
      auto size = co_await channel_->ReadSome(decoder.Space());
      if (!size.ok()) co_return size;
      decoder.Commit(*size);
    }
    const size_t size = std::min(buffer.size(), payload_.size());
    std::memcpy(buffer.data(), payload_.data(), size);
    payload_.remove_prefix(size);
    co_return size;
  }

  Co<absl::Status> WriteAll(std::string_view data) override {
    if (!answer_.empty()) {
      answer_ += data;
      const std::string bytes = std::exchange(answer_, {});
      co_return co_await channel_->WriteAll(bytes);
    }
    co_return co_await channel_->WriteAll(data);
  }

  void Close() override { channel_->Close(); }

 private:
  const std::unique_ptr<Transport> channel_;
  const std::shared_ptr<State> state_;
  std::string answer_;        // goes out before the first byte written
  std::string_view payload_;  // in the decoder, not yet read
};

SessionAcceptor::SessionAcceptor() : state_(std::make_shared<State>()) {}

Co<absl::StatusOr<std::unique_ptr<Transport>>> SessionAcceptor::Accept(std::unique_ptr<Transport> channel) {
  SessionDecoder& decoder = state_->decoder;
  while (!std::exchange(state_->has_new_session, false)) {
    const auto event = decoder.Next();
    if (event == SessionDecoder::Event::kNewSession) break;
    if (event == SessionDecoder::Event::kPayload) continue;  // of a session that has ended
    auto size = co_await channel->ReadSome(decoder.Space());
    if (!size.ok()) co_return size.status();
    decoder.Commit(*size);
  }
  co_return std::make_unique<Session>(std::move(channel), state_);
}

}  // namespace kata::ttrpc
