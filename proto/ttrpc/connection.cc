// SPDX-License-Identifier: Apache-2.0
#include "proto/ttrpc/connection.h"

#include <algorithm>
#include <utility>

#include <absl/cleanup/cleanup.h>
#include <absl/strings/str_cat.h>
#include <boost/asio/post.hpp>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/schema/ttrpc.pb.h"
#include "proto/ttrpc/connection_impl.h"

namespace kata::ttrpc {
namespace {

// Queued frames are joined up to this size for one write.
constexpr size_t kBatchBytesMax = 64u << 10;
// Other coroutines get their turn after a write of so many bytes.
constexpr size_t kLongWrite = 16u << 10;
// And after so many frames, or bytes of frames, of one read: who receives them comes before the next.
constexpr size_t kFramesPerTurn = 64;
constexpr size_t kFrameBytesPerTurn = 128u << 10;
// How long an orderly shutdown waits for the last answers to be written.
constexpr std::chrono::seconds kFlushTimeout{1};
constexpr uint32_t kStreamIdMax = 0xfffffffd;

absl::StatusOr<std::string> EncodeRequest(std::string service, std::string method, std::string payload,
                                          std::chrono::nanoseconds timeout, Metadata metadata) {
  ::ttrpc::Request request;
  request.set_service(std::move(service));
  request.set_method(std::move(method));
  request.set_payload(std::move(payload));
  request.set_timeout_nano(std::max<int64_t>(timeout.count(), 0));
  for (auto& [key, value] : metadata) {
    ::ttrpc::KeyValue* entry = request.add_metadata();
    entry->set_key(key);
    entry->set_value(std::move(value));
  }
  const size_t size = request.ByteSizeLong();
  if (size > kFrameDataMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("sending a request: ", size, " bytes, at most ", kFrameDataMax, " fit a frame"));
  }
  std::string frame(kFrameHeaderSize + size, '\0');
  request.SerializeToArray(frame.data() + kFrameHeaderSize, static_cast<int>(size));
  return frame;
}

absl::StatusOr<std::string> DecodeResponse(const std::string& data) {
  ::ttrpc::Response response;
  if (!response.ParseFromString(data)) return absl::InternalError("decoding an answer: malformed");
  const int code = response.status().code();
  if (code == 0) return std::move(*response.mutable_payload());
  const bool is_known = code > 0 && code <= static_cast<int>(absl::StatusCode::kUnauthenticated);
  return absl::Status(is_known ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnknown,
                      CleanText(response.status().message()));
}

}  // namespace

std::shared_ptr<Connection> Connection::Start(asio::any_io_executor executor, std::unique_ptr<Transport> transport,
                                              const ServiceMap* services, size_t frame_data_max) {
  auto connection =
      std::make_shared<ConnectionImpl>(std::move(executor), std::move(transport), services, frame_data_max);
  connection->StartLoops();
  return connection;
}

ConnectionImpl::ConnectionImpl(asio::any_io_executor executor, std::unique_ptr<Transport> transport,
                               const ServiceMap* services, size_t frame_data_max)
    : executor_(executor),
      transport_(std::move(transport)),
      services_(services),
      frame_data_max_(std::min(frame_data_max, kFrameDataMax)),
      queue_filled_(executor),
      closed_(executor) {}

void ConnectionImpl::StartLoops() {
  Spawn(executor_, "ttrpc reader", ReadLoop(shared_from_this()));
  Spawn(executor_, "ttrpc writer", WriteLoop(shared_from_this()));
}

Co<absl::Status> ConnectionImpl::ReadLoop(std::shared_ptr<ConnectionImpl> self) {
  FrameParser parser(self->frame_data_max_);
  size_t frames = 0;
  size_t bytes = 0;
  while (!self->is_closed()) {
    auto size = co_await self->transport_->ReadSome(parser.Space());
    if (!size.ok()) {
      const bool is_cut = absl::IsUnavailable(size.status()) && !parser.at_boundary();
      self->Close(is_cut ? Annotate(size.status(), "truncated frame") : size.status());
      break;
    }
    parser.Commit(*size);
    while (auto frame = parser.Next()) {
      if (self->is_closed()) break;
      frames += 1;
      bytes += frame->data.size();
      self->HandleFrame(*std::move(frame));
      if (frames < kFramesPerTurn && bytes < kFrameBytesPerTurn) continue;
      frames = bytes = 0;
      co_await asio::post(self->executor_, asio::use_awaitable);
    }
  }
  co_return absl::OkStatus();
}

Co<absl::Status> ConnectionImpl::WriteLoop(std::shared_ptr<ConnectionImpl> self) {
  auto& queue = self->queue_;
  while (!self->is_closed()) {
    if (queue.empty()) {
      self->queue_filled_.expires_at(Clock::time_point::max());
      co_await self->queue_filled_.async_wait(kTuple);
      continue;
    }
    std::string batch = queue.Pop();
    size_t cost = kMessageCost;
    while (!queue.empty() && batch.size() + queue.Front().size() <= kBatchBytesMax) {
      batch += queue.Pop();
      cost += kMessageCost;
    }
    cost += batch.size();
    absl::Status status = co_await self->transport_->WriteAll(batch);
    self->queued_bytes_ -= std::min(cost, self->queued_bytes_);
    self->Wake();
    if (!status.ok()) self->Close(status);
    // A peer that takes everything at once must not keep the others of this thread waiting.
    if (batch.size() >= kLongWrite) co_await asio::post(self->executor_, asio::use_awaitable);
  }
  co_return absl::OkStatus();
}

bool ConnectionImpl::HasSpace(size_t size) const {
  return queued_bytes_ == 0 || queued_bytes_ + size + kMessageCost <= kSendQueueBytesMax;
}

void ConnectionImpl::Enqueue(uint32_t stream_id, std::string frame) {
  if (is_closed()) return;
  queued_bytes_ += frame.size() + kMessageCost;
  queue_.Push(stream_id, std::move(frame));
  queue_filled_.cancel();
}

void ConnectionImpl::Wake() {
  if (auto event = std::exchange(changed_, nullptr)) event->Set();
}

Co<void> ConnectionImpl::WaitForChange(Clock::time_point until) {
  if (!changed_) changed_ = std::make_shared<Latch>(executor_);
  auto event = changed_;
  const std::chrono::nanoseconds rest = until - Clock::now();
  co_await event->WaitFor(std::min(rest, kTimeoutMax));
}

Co<absl::Status> ConnectionImpl::WaitForSpace(size_t size, Clock::time_point until) {
  while (!is_closed() && !HasSpace(size)) {
    if (Clock::now() >= until) co_return absl::DeadlineExceededError("waiting for the send queue: deadline exceeded");
    co_await WaitForChange(until);
  }
  co_return close_reason_;
}

void ConnectionImpl::HandleFrame(Frame frame) {
  if (frame.type == kTypeRequest && services_ == nullptr) {
    return Close(absl::InvalidArgumentError("the peer of a pure client has made a request"));
  }
  if (frame.oversized()) return HandleOversized(frame);
  switch (frame.type) {
    case kTypeRequest:
      return HandleRequest(std::move(frame));
    case kTypeResponse:
      return HandleResponse(std::move(frame));
    case kTypeData:
      return services_ != nullptr ? HandleServerData(std::move(frame)) : HandleClientData(std::move(frame));
    default:
      return;  // later versions may have more types
  }
}

void ConnectionImpl::HandleOversized(const Frame& frame) {
  const absl::Status error = absl::ResourceExhaustedError(
      absl::StrCat("frame of ", frame.length, " bytes: at most ", frame_data_max_, " are allowed"));
  const bool is_data = frame.type == kTypeData;
  if (frame.type == kTypeRequest || (is_data && services_ != nullptr)) {
    if (is_data && server_calls_.contains(frame.stream_id)) return BreakServerStream(frame.stream_id, error);
    return Answer(frame.stream_id, error, std::string());
  }
  if (is_data) return BreakClientStream(frame.stream_id, error);
  if (frame.type == kTypeResponse) FinishClient(frame.stream_id, error);
}

void ConnectionImpl::HandleResponse(Frame frame) {
  const uint32_t id = frame.stream_id;
  if (!pending_.contains(id) && !client_streams_.contains(id)) return;  // late: its caller has given up
  FinishClient(id, DecodeResponse(frame.data));
}

void ConnectionImpl::FinishClient(uint32_t id, absl::StatusOr<std::string> result) {
  if (auto it = pending_.find(id); it != pending_.end()) {
    it->second->result = std::move(result);
    it->second->done.Set();
    pending_.erase(it);
    return;
  }
  auto it = client_streams_.find(id);
  if (it == client_streams_.end()) return;
  StreamImpl* stream = it->second;
  client_streams_.erase(it);
  if (!result.ok()) return stream->Fail(result.status());
  if (!result->empty()) {
    if (auto pushed = stream->Push(*std::move(result)); !pushed.ok()) {
      log::Warn("stream {} is broken: {}", id, pushed.message());
      return stream->Fail(pushed);
    }
  }
  stream->EndSend();
  stream->PushEnd();
}

void ConnectionImpl::BreakClientStream(uint32_t id, const absl::Status& error) {
  auto it = client_streams_.find(id);
  if (it == client_streams_.end()) return;
  StreamImpl* stream = it->second;
  client_streams_.erase(it);
  log::Warn("stream {} is broken: {}", id, error.message());
  stream->Break(error);
}

void ConnectionImpl::HandleClientData(Frame frame) {
  auto it = client_streams_.find(frame.stream_id);
  if (it == client_streams_.end()) return;  // late
  StreamImpl* stream = it->second;
  if ((frame.flags & kFlagNoData) == 0) {
    auto pushed = stream->Push(std::move(frame.data));
    if (!pushed.ok()) return BreakClientStream(frame.stream_id, pushed);
  }
  if ((frame.flags & kFlagRemoteClosed) != 0) {
    // A server that has closed its direction has ended the stream.
    client_streams_.erase(it);
    stream->EndSend();
    stream->PushEnd();
  }
}

absl::StatusOr<uint32_t> ConnectionImpl::TakeStreamId() {
  if (is_closed()) return close_reason_;
  if (next_id_ >= kStreamIdMax) {
    Close(absl::ResourceExhaustedError("stream ids of the connection are used up"));
    return close_reason_;
  }
  return std::exchange(next_id_, next_id_ + 2);
}

Co<absl::StatusOr<std::string>> ConnectionImpl::Call(std::string service, std::string method, std::string payload,
                                                     std::chrono::nanoseconds timeout, Metadata metadata) {
  auto self = shared_from_this();
  const bool has_deadline = timeout.count() > 0;
  timeout = has_deadline ? std::min(timeout, kTimeoutMax) : kTimeoutMax;
  const Clock::time_point until = Clock::now() + timeout;
  const std::string what = absl::StrCat("calling \"", service, "/", method, "\"");
  const auto sent_timeout = has_deadline ? timeout : std::chrono::nanoseconds(0);
  auto frame =
      EncodeRequest(std::move(service), std::move(method), std::move(payload), sent_timeout, std::move(metadata));
  if (!frame.ok()) co_return Annotate(frame.status(), what);
  absl::Status space = co_await WaitForSpace(frame->size(), until);
  if (!space.ok()) co_return Annotate(space, what);
  auto id = TakeStreamId();
  if (!id.ok()) co_return Annotate(id.status(), what);
  auto call = std::make_shared<PendingCall>(executor_);
  pending_.emplace(*id, call);
  const uint32_t call_id = *id;
  absl::Cleanup forget = [this, call_id] { pending_.erase(call_id); };
  WriteFrameHeader(frame->data(), frame->size() - kFrameHeaderSize, call_id, kTypeRequest, 0);
  Enqueue(call_id, *std::move(frame));
  if (has_deadline) {
    const bool is_done = co_await call->done.WaitFor(until - Clock::now());
    if (!is_done) co_return absl::DeadlineExceededError(absl::StrCat(what, ": deadline exceeded"));
  } else {
    co_await call->done.Wait();
  }
  co_return std::move(call->result);
}

Co<absl::StatusOr<std::shared_ptr<Stream>>> ConnectionImpl::OpenStream(std::string service, std::string method) {
  auto self = shared_from_this();
  const std::string what = absl::StrCat("opening stream \"", service, "/", method, "\"");
  auto frame =
      EncodeRequest(std::move(service), std::move(method), std::string(), std::chrono::nanoseconds(0), Metadata());
  if (!frame.ok()) co_return Annotate(frame.status(), what);
  absl::Status space = co_await WaitForSpace(frame->size(), Clock::time_point::max());
  if (!space.ok()) co_return Annotate(space, what);
  auto id = TakeStreamId();
  if (!id.ok()) co_return Annotate(id.status(), what);
  auto stream = std::make_shared<StreamImpl>(self, *id, StreamImpl::Role::kClient);
  client_streams_.emplace(*id, stream.get());
  WriteFrameHeader(frame->data(), frame->size() - kFrameHeaderSize, *id, kTypeRequest, kFlagRemoteOpen);
  Enqueue(*id, *std::move(frame));
  co_return stream;
}

void ConnectionImpl::Close(absl::Status reason) {
  if (is_closed()) return;
  auto self = shared_from_this();  // what is released below may hold the last references
  close_reason_ = reason.ok() ? absl::CancelledError("connection closed") : std::move(reason);
  closed_.Set();
  transport_->Close();
  queue_.Clear();
  queued_bytes_ = 0;
  for (auto& [id, call] : std::exchange(pending_, {})) {
    call->result = close_reason_;
    call->done.Set();
  }
  for (auto& [id, stream] : std::exchange(client_streams_, {})) stream->Fail(close_reason_);
  for (auto& [id, call] : server_calls_) {
    call->answered = true;
    call->deadline.cancel();
    if (auto stream = call->stream.lock()) stream->Fail(close_reason_);
  }
  queue_filled_.cancel();
  Wake();
}

Co<void> ConnectionImpl::ShutDown(std::chrono::nanoseconds grace, std::chrono::nanoseconds linger) {
  auto self = shared_from_this();
  is_stopping_ = true;
  const Clock::time_point calls_until = Clock::now() + std::min(grace, kTimeoutMax);
  while (!is_closed() && !server_calls_.empty() && Clock::now() < calls_until) {
    co_await WaitForChange(calls_until);
  }
  const Clock::time_point flush_until = Clock::now() + kFlushTimeout;
  while (!is_closed() && queued_bytes_ > 0 && Clock::now() < flush_until) {
    co_await WaitForChange(flush_until);
  }
  if (linger.count() > 0) co_await closed_.WaitFor(std::min(linger, kTimeoutMax));
  Close(absl::CancelledError("connection shut down"));
}

Co<absl::Status> ConnectionImpl::WaitClosed() {
  auto self = shared_from_this();
  co_await closed_.Wait();
  co_return close_reason_;
}

}  // namespace kata::ttrpc
