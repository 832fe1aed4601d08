// SPDX-License-Identifier: Apache-2.0
// The server role of a connection: checks requests, runs their handlers, answers. Every refusal is
// an answer on the offending stream; the connection goes on.
#include <algorithm>
#include <exception>
#include <utility>

#include <absl/strings/str_cat.h>

#include "proto/base/log.h"
#include "proto/schema/ttrpc.pb.h"
#include "proto/ttrpc/connection_impl.h"

namespace kata::ttrpc {
namespace {

// Bytes of the UTF-8 character at the start of `text`, 0 when it is none.
size_t CharacterSize(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return 1;
  const size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
  }
  const auto second = static_cast<unsigned char>(text[1]);
  // Overlong forms, surrogates, and code points above U+10FFFF.
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f)) return 0;
  if ((lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) return 0;
  return size;
}

}  // namespace

std::string CleanText(std::string_view text) {
  text = text.substr(0, kStatusTextMax);
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t size = CharacterSize(text);
    out += size == 0 ? std::string_view("?") : text.substr(0, size);
    text.remove_prefix(std::max<size_t>(size, 1));
  }
  return out;
}

void ConnectionImpl::Answer(uint32_t id, const absl::Status& status, std::string payload) {
  if (is_closed()) return;
  ::ttrpc::Response response;
  response.set_payload(std::move(payload));
  if (status.ok() && response.ByteSizeLong() > kFrameDataMax) {
    return Answer(id,
                  absl::ResourceExhaustedError(absl::StrCat("answer of ", response.payload().size(), " bytes: at most ",
                                                            kFrameDataMax, " fit a frame")),
                  std::string());
  }
  if (!status.ok()) {
    response.clear_payload();
    response.mutable_status()->set_code(static_cast<int>(status.code()));
    response.mutable_status()->set_message(CleanText(std::string(status.message())));
  }
  const size_t size = response.ByteSizeLong();
  if (!HasSpace(kFrameHeaderSize + size)) {
    return Close(absl::ResourceExhaustedError("the peer does not read its answers: send queue full"));
  }
  std::string frame(kFrameHeaderSize + size, '\0');
  WriteFrameHeader(frame.data(), size, id, kTypeResponse, 0);
  response.SerializeToArray(frame.data() + kFrameHeaderSize, static_cast<int>(size));
  Enqueue(id, std::move(frame));
}

void ConnectionImpl::AnswerCall(uint32_t id, ServerCall& call, const absl::Status& status, std::string payload) {
  if (std::exchange(call.answered, true)) return;
  call.deadline.cancel();
  if (status.ok() && call.is_stream) {
    Enqueue(id, EncodeFrame(id, kTypeData, kFlagRemoteClosed | kFlagNoData, std::string_view()));
  } else {
    Answer(id, status, std::move(payload));
  }
}

void ConnectionImpl::BreakServerStream(uint32_t id, const absl::Status& error) {
  auto it = server_calls_.find(id);
  if (it == server_calls_.end()) return;
  auto call = it->second;
  log::Warn("stream {} is broken: {}", id, error.message());
  AnswerCall(id, *call, error, std::string());
  if (auto stream = call->stream.lock()) stream->Fail(error);
}

void ConnectionImpl::EndCall(uint32_t id) {
  server_calls_.erase(id);
  Wake();
}

void ConnectionImpl::HandleRequest(Frame frame) {
  const uint32_t id = frame.stream_id;
  if (id % 2 == 0) {
    return Answer(id, absl::InvalidArgumentError("stream id must be odd for a stream that a client opens"), {});
  }
  if (id <= last_peer_id_) {
    return Answer(id, absl::InvalidArgumentError("stream id must be greater than all before"), {});
  }
  last_peer_id_ = id;
  StartCall(std::move(frame));
}

void ConnectionImpl::StartCall(Frame frame) {
  const uint32_t id = frame.stream_id;
  ::ttrpc::Request request;
  if (!request.ParseFromString(frame.data)) {
    return Answer(id, absl::InvalidArgumentError("cannot decode the request"), {});
  }
  std::string().swap(frame.data);
  if (is_stopping_) return Answer(id, absl::UnavailableError("the server is shutting down"), {});
  const auto* unary = services_ ? services_->FindUnary(request.service(), request.method()) : nullptr;
  const auto* streaming = services_ ? services_->FindStream(request.service(), request.method()) : nullptr;
  if (unary == nullptr && streaming == nullptr) {
    const bool has_service = services_ != nullptr && services_->HasService(request.service());
    std::string text = absl::StrCat("unknown service \"", request.service(), "\"");
    if (has_service)
      text = absl::StrCat("unknown method \"", request.method(), "\" of service \"", request.service(), "\"");
    return Answer(id, absl::UnimplementedError(text), {});
  }
  if (server_calls_.size() >= kConcurrentCallsMax) {
    return Answer(id, absl::ResourceExhaustedError(absl::StrCat("more than ", kConcurrentCallsMax, " calls at once")),
                  {});
  }
  CallContext context;
  for (auto& entry : *request.mutable_metadata()) {
    context.metadata.emplace(std::move(*entry.mutable_key()), std::move(*entry.mutable_value()));
  }
  context.timeout = std::min(std::chrono::nanoseconds(request.timeout_nano()), kTimeoutMax);
  auto call = std::make_shared<ServerCall>(executor_);
  server_calls_.emplace(id, call);
  if (context.timeout.count() != 0) StartDeadline(id, call, context.timeout);
  if (unary != nullptr) {
    return Spawn(executor_, "ttrpc call",
                 RunUnary(shared_from_this(), id, unary, std::move(context), std::move(*request.mutable_method()),
                          std::move(*request.mutable_payload())));
  }
  auto stream = std::make_shared<StreamImpl>(shared_from_this(), id, StreamImpl::Role::kServer);
  call->stream = stream;
  call->is_stream = true;
  // A client that closes with its request sends its one message there, which may be empty.
  const bool is_closed = (frame.flags & kFlagRemoteClosed) != 0;
  if (is_closed || !request.payload().empty()) {
    static_cast<void>(stream->Push(std::move(*request.mutable_payload())));  // the queue is empty
  }
  if (is_closed) stream->PushEnd();
  Spawn(executor_, "ttrpc stream", RunStream(shared_from_this(), id, streaming, std::move(context), stream));
}

void ConnectionImpl::StartDeadline(uint32_t id, const std::shared_ptr<ServerCall>& call,
                                   std::chrono::nanoseconds timeout) {
  call->deadline.expires_after(std::max(timeout, std::chrono::nanoseconds(0)));
  call->deadline.async_wait([self = weak_from_this(), id, weak = std::weak_ptr(call)](boost::system::error_code ec) {
    auto connection = self.lock();
    auto locked = weak.lock();
    if (ec || !connection || !locked) return;
    const absl::Status error = absl::DeadlineExceededError("the call's deadline has passed");
    connection->AnswerCall(id, *locked, error, std::string());
    if (auto stream = locked->stream.lock()) stream->Fail(error);
  });
}

void ConnectionImpl::HandleServerData(Frame frame) {
  const uint32_t id = frame.stream_id;
  if (id % 2 == 0) {
    return Answer(id, absl::InvalidArgumentError("stream id must be odd for a stream that a client opens"), {});
  }
  auto it = server_calls_.find(id);
  auto stream = it == server_calls_.end() ? nullptr : it->second->stream.lock();
  if (stream == nullptr || it->second->answered) {
    return Answer(id, absl::InvalidArgumentError("data for a stream that is not open"), {});
  }
  const bool has_data = (frame.flags & kFlagNoData) == 0;
  const bool is_end = (frame.flags & kFlagRemoteClosed) != 0;
  if ((has_data && is_end) || (!has_data && !frame.data.empty())) {
    return BreakServerStream(id, absl::InvalidArgumentError("a closing data frame must carry no data"));
  }
  if (has_data) {
    if (auto pushed = stream->Push(std::move(frame.data)); !pushed.ok()) return BreakServerStream(id, pushed);
  }
  if (is_end) stream->PushEnd();
}

Co<absl::Status> ConnectionImpl::RunUnary(std::shared_ptr<ConnectionImpl> self, uint32_t id,
                                          const UnaryHandler* handler, CallContext context, std::string method,
                                          std::string payload) {
  const auto began = std::chrono::steady_clock::now();
  absl::StatusOr<std::string> result = absl::InternalError("the handler did not return");
  try {
    result = co_await (*handler)(std::move(context), std::move(payload));
  } catch (const std::exception& e) {
    result = absl::InternalError(absl::StrCat("unexpected exception: ", e.what()));
  }
  const CallObserver& observer = self->services_->observer();
  if (observer) observer(method, std::chrono::steady_clock::now() - began, result.status().code());
  if (auto it = self->server_calls_.find(id); it != self->server_calls_.end()) {
    auto call = it->second;
    absl::Status status = result.status();
    self->AnswerCall(id, *call, status, status.ok() ? *std::move(result) : std::string());
  }
  self->EndCall(id);
  co_return absl::OkStatus();
}

Co<absl::Status> ConnectionImpl::RunStream(std::shared_ptr<ConnectionImpl> self, uint32_t id,
                                           const StreamHandler* handler, CallContext context,
                                           std::shared_ptr<StreamImpl> stream) {
  absl::Status status;
  try {
    status = co_await (*handler)(std::move(context), stream);
  } catch (const std::exception& e) {
    status = absl::InternalError(absl::StrCat("unexpected exception: ", e.what()));
  }
  if (auto it = self->server_calls_.find(id); it != self->server_calls_.end()) {
    auto call = it->second;
    self->AnswerCall(id, *call, status, std::string());
  }
  stream->Fail(absl::UnavailableError("the handler has returned"));
  self->EndCall(id);
  co_return absl::OkStatus();
}

}  // namespace kata::ttrpc
