// SPDX-License-Identifier: Apache-2.0
// The test service: echoes after a delay, or fails as told; remembers what a test wants to see.
#pragma once

#include <algorithm>
#include <memory>
#include <string>

#include "proto/base/coro.h"
#include "proto/ttrpc/test/test.ttrpc.h"

namespace kata::ttrpc {

class EchoServiceFake : public test::EchoService {
 public:
  Co<absl::StatusOr<test::EchoReply>> Say(CallContext context, test::EchoRequest request) override {
    last_context = context;
    concurrent_max = std::max(concurrent_max, ++concurrent);
    if (request.delay_ms() > 0) co_await Sleep(std::chrono::milliseconds(request.delay_ms()));
    --concurrent;
    if (request.code() != 0) co_return absl::Status(static_cast<absl::StatusCode>(request.code()), request.text());
    test::EchoReply reply;
    reply.set_text(request.text());
    co_return reply;
  }

  // Echoes until the client ends its direction; a message with a code ends the stream with that
  // status.
  Co<absl::Status> Chat(CallContext,
                        std::shared_ptr<MessageStream<test::EchoRequest, test::EchoReply>> stream) override {
    for (;;) {
      auto request = co_await stream->Receive();
      if (!request.ok()) {
        chat_end = request.status();
        break;
      }
      if (request->code() != 0) {
        co_return absl::Status(static_cast<absl::StatusCode>(request->code()), request->text());
      }
      test::EchoReply reply;
      reply.set_text(request->text());
      absl::Status sent = co_await stream->Send(std::move(reply));
      if (!sent.ok()) co_return sent;
    }
    co_return absl::IsOutOfRange(chat_end) ? absl::OkStatus() : chat_end;
  }

  // One request, then as many messages as its text has characters.
  Co<absl::Status> Count(CallContext,
                         std::shared_ptr<MessageStream<test::EchoRequest, test::EchoReply_Inner>> stream) override {
    auto request = co_await stream->Receive();
    if (!request.ok()) co_return request.status();
    for (char c : request->text()) {
      test::EchoReply_Inner message;
      message.set_data(std::string(1, c));
      absl::Status sent = co_await stream->Send(std::move(message));
      if (!sent.ok()) co_return sent;
    }
    co_return absl::OkStatus();
  }

  CallContext last_context;
  int concurrent = 0;
  int concurrent_max = 0;
  absl::Status chat_end;
};

}  // namespace kata::ttrpc
