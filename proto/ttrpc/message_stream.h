// SPDX-License-Identifier: Apache-2.0
// Typed layer over connection.h that generated code is made of: MessageStream<In, Out> for
// streaming calls, and the glue that turns bytes into messages for unary calls. Io thread only;
// limits are those of connection.h.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include <absl/status/statusor.h>
#include <absl/strings/str_cat.h>

#include "proto/base/coro.h"
#include "proto/ttrpc/connection.h"
#include "proto/ttrpc/frame.h"

namespace kata::ttrpc {

// One streaming call: In is what this side receives, Out what it sends. Dropping it ends the
// stream.
template <typename In, typename Out>
class MessageStream {
 public:
  explicit MessageStream(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}

  // As Stream::Receive: OutOfRange when the peer has ended its direction; InvalidArgument for bytes
  // that are no In.
  Co<absl::StatusOr<In>> Receive() {
    std::shared_ptr<Stream> stream = stream_;
    auto bytes = co_await stream->Receive();
    if (!bytes.ok()) co_return bytes.status();
    In message;
    if (!message.ParseFromString(*bytes)) {
      co_return absl::InvalidArgumentError("receiving a message: cannot decode it");
    }
    co_return std::move(message);
  }
  // `message` is not needed any more when this returns, which is before it is sent.
  Co<absl::Status> Send(const Out& message) {
    std::string frame;
    frame.reserve(kFrameHeaderSize + message.ByteSizeLong());
    frame.resize(kFrameHeaderSize);
    message.AppendToString(&frame);
    return SendFrame(stream_, std::move(frame));
  }
  Co<absl::Status> CloseSend() { return stream_->CloseSend(); }
  // As Stream::Close.
  void Close() { stream_->Close(); }

 private:
  static Co<absl::Status> SendFrame(std::shared_ptr<Stream> stream, std::string frame) {
    co_return co_await stream->SendFrame(std::move(frame));
  }

  std::shared_ptr<Stream> stream_;
};

template <typename Service, typename In, typename Out>
Co<absl::StatusOr<std::string>> ServeUnary(Service* service,
                                           Co<absl::StatusOr<Out>> (Service::*method)(CallContext, In),
                                           CallContext context, std::string payload) {
  In request;
  if (!request.ParseFromString(payload)) {
    co_return absl::InvalidArgumentError("cannot decode the request's payload");
  }
  std::string().swap(payload);  // a call may wait for days
  auto response = co_await (service->*method)(std::move(context), std::move(request));
  if (!response.ok()) co_return response.status();
  co_return response->SerializeAsString();
}

template <typename Service, typename In, typename Out>
void AddUnaryMethod(ServiceMap& map, const std::string& service_name, const char* method_name, Service* service,
                    Co<absl::StatusOr<Out>> (Service::*method)(CallContext, In)) {
  map.AddUnary(service_name, method_name, [service, method](CallContext context, std::string payload) {
    return ServeUnary<Service, In, Out>(service, method, std::move(context), std::move(payload));
  });
}

template <typename Service, typename In, typename Out>
void AddStreamMethod(ServiceMap& map, const std::string& service_name, const char* method_name, Service* service,
                     Co<absl::Status> (Service::*method)(CallContext, std::shared_ptr<MessageStream<In, Out>>)) {
  map.AddStream(service_name, method_name, [service, method](CallContext context, std::shared_ptr<Stream> stream) {
    return (service->*method)(std::move(context), std::make_shared<MessageStream<In, Out>>(std::move(stream)));
  });
}

template <typename Request, typename Response>
Co<absl::StatusOr<Response>> CallUnary(std::shared_ptr<Connection> connection, const char* service, const char* method,
                                       Request request, std::chrono::nanoseconds timeout, Metadata metadata) {
  std::string payload = request.SerializeAsString();
  request.Clear();
  auto bytes = co_await connection->Call(std::string(service), std::string(method), std::move(payload), timeout,
                                         std::move(metadata));
  if (!bytes.ok()) co_return bytes.status();
  Response response;
  if (!response.ParseFromString(*bytes)) {
    co_return absl::InternalError(absl::StrCat("calling \"", service, "/", method, "\": cannot decode the answer"));
  }
  co_return std::move(response);
}

template <typename In, typename Out>
Co<absl::StatusOr<std::shared_ptr<MessageStream<In, Out>>>> OpenMessageStream(std::shared_ptr<Connection> connection,
                                                                              const char* service, const char* method) {
  auto stream = co_await connection->OpenStream(std::string(service), std::string(method));
  if (!stream.ok()) co_return stream.status();
  co_return std::make_shared<MessageStream<In, Out>>(*std::move(stream));
}

}  // namespace kata::ttrpc
