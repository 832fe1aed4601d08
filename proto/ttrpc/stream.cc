// SPDX-License-Identifier: Apache-2.0
// One streaming call, either role. The connection pushes what comes; the user's coroutines receive
// and send.
#include <utility>

#include <absl/strings/str_cat.h>

#include "proto/ttrpc/connection_impl.h"

namespace kata::ttrpc {

StreamImpl::StreamImpl(std::shared_ptr<ConnectionImpl> connection, uint32_t id, Role role)
    : connection_(std::move(connection)), id_(id), role_(role), changed_(connection_->executor()) {}

StreamImpl::~StreamImpl() {
  if (role_ == Role::kServer) return;  // ends when its handler returns
  StreamImpl::Close();
}

void StreamImpl::TellEnd() {
  if (!SendState().ok()) return;
  connection_->Enqueue(id_, EncodeFrame(id_, kTypeData, kFlagRemoteClosed | kFlagNoData, std::string_view()));
}

void StreamImpl::Close() {
  // A server's stream ends for its peer when the handler returns.
  if (role_ == Role::kClient) {
    connection_->ForgetClientStream(id_);
    TellEnd();
  }
  if (error_.ok()) error_ = absl::CancelledError("the stream was closed here");
  inbox_.clear();
  inbox_bytes_ = 0;
  changed_.cancel();
  connection_->Wake();
}

absl::Status StreamImpl::Push(std::string message) {
  if (remote_closed_) return absl::InvalidArgumentError("data after the end of the stream");
  const size_t size = message.size() + kMessageCost;
  if (inbox_bytes_ + size > kStreamQueueBytesMax) {
    return absl::ResourceExhaustedError("the stream's queue of unread messages is full");
  }
  inbox_bytes_ += size;
  inbox_.push_back(std::move(message));
  changed_.cancel();
  return absl::OkStatus();
}

void StreamImpl::PushEnd() {
  remote_closed_ = true;
  changed_.cancel();
}

void StreamImpl::Fail(absl::Status error) {
  if (error_.ok()) error_ = std::move(error);
  if (absl::IsResourceExhausted(error_)) {
    inbox_.clear();
    inbox_bytes_ = 0;
  }
  changed_.cancel();
  connection_->Wake();  // a Send that waits for space
}

void StreamImpl::Break(absl::Status error) {
  TellEnd();
  Fail(std::move(error));
}

Co<absl::StatusOr<std::string>> StreamImpl::Receive() {
  while (inbox_.empty()) {
    if (!error_.ok()) co_return error_;
    if (remote_closed_) co_return absl::OutOfRangeError("receiving: the peer has ended the stream");
    changed_.expires_at(Clock::time_point::max());
    co_await changed_.async_wait(kTuple);
  }
  std::string message = std::move(inbox_.front());
  inbox_.pop_front();
  inbox_bytes_ -= message.size() + kMessageCost;
  co_return message;
}

absl::Status StreamImpl::SendState() const {
  if (connection_->is_closed()) return absl::UnavailableError("sending: the connection is closed");
  if (!error_.ok()) return absl::UnavailableError(absl::StrCat("sending: stream ended: ", error_.message()));
  if (send_closed_) return absl::UnavailableError("sending: this direction of the stream is closed");
  return absl::OkStatus();
}

Co<absl::Status> StreamImpl::Send(std::string message) {
  message.insert(0, kFrameHeaderSize, '\0');
  co_return co_await SendFrame(std::move(message));
}

Co<absl::Status> StreamImpl::SendFrame(std::string frame) {
  const size_t size = frame.size();
  const size_t data_size = size - kFrameHeaderSize;
  if (data_size > kFrameDataMax) {
    co_return absl::ResourceExhaustedError(
        absl::StrCat("sending: ", data_size, " bytes, at most ", kFrameDataMax, " fit a frame"));
  }
  absl::Status state = SendState();
  while (state.ok() && !connection_->HasSpace(size)) {
    co_await connection_->WaitForChange(Clock::time_point::max());
    state = SendState();
  }
  if (!state.ok()) co_return state;
  WriteFrameHeader(frame.data(), data_size, id_, kTypeData, 0);
  connection_->Enqueue(id_, std::move(frame));
  co_return absl::OkStatus();
}

Co<absl::Status> StreamImpl::CloseSend() {
  absl::Status state = SendState();
  if (!state.ok()) co_return state;
  send_closed_ = true;
  // A server's closing frame ends the whole stream: it goes out when the handler returns.
  if (role_ == Role::kClient) {
    connection_->Enqueue(id_, EncodeFrame(id_, kTypeData, kFlagRemoteClosed | kFlagNoData, std::string_view()));
  }
  co_return absl::OkStatus();
}

}  // namespace kata::ttrpc
