// SPDX-License-Identifier: Apache-2.0
// Tools of the protocol's tests: RunCo runs one coroutine with a watchdog; RawPeer speaks frames
// byte by byte to a connection under test, so that a test says exactly what is on the wire.
#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "proto/base/coro.h"
#include "proto/schema/ttrpc.pb.h"
#include "proto/ttrpc/connection.h"
#include "proto/ttrpc/frame.h"
#include "proto/ttrpc/transport.h"

namespace kata::ttrpc {

inline constexpr std::chrono::seconds kWatchdog{20};

inline std::pair<UniqueFd, UniqueFd> MakeSocketPair() {
  int fds[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// Runs `task` until it ends; whatever it has spawned must end too.
inline void RunCo(asio::io_context& io, Co<void> task) {
  bool is_done = false;
  asio::co_spawn(io, std::move(task), [&is_done](std::exception_ptr error) {
    EXPECT_FALSE(error) << "the test's coroutine threw";
    is_done = true;
  });
  io.run_for(kWatchdog);
  EXPECT_TRUE(is_done) << "the test's coroutine did not end";
  EXPECT_TRUE(io.stopped()) << "something still runs after the test";
}

class RawPeer {
 public:
  RawPeer(asio::any_io_executor executor, UniqueFd fd) : transport_(MakeFdTransport(executor, std::move(fd))) {}

  Co<void> Write(std::string bytes) {
    absl::Status status = co_await transport_->WriteAll(bytes);
    EXPECT_TRUE(status.ok()) << status;
  }
  Co<void> Request(uint32_t id, std::string service, std::string method, std::string body, uint8_t flags,
                   int64_t timeout_nano) {
    ::ttrpc::Request request;
    request.set_service(std::move(service));
    request.set_method(std::move(method));
    request.set_payload(std::move(body));
    request.set_timeout_nano(timeout_nano);
    std::string bytes = EncodeFrame(id, kTypeRequest, flags, request.SerializeAsString());
    co_await Write(std::move(bytes));
  }
  // The next frame; nothing at the end of the stream.
  Co<std::optional<Frame>> Read() {
    for (;;) {
      std::optional<Frame> frame = parser_.Next();
      if (frame) co_return frame;
      auto size = co_await transport_->ReadSome(parser_.Space());
      if (!size.ok()) co_return std::nullopt;
      parser_.Commit(*size);
    }
  }
  // Expects an answer on stream `id` and returns it as a status, an OK one with the payload in
  // `payload`.
  Co<absl::Status> ReadAnswer(uint32_t id) {
    std::optional<Frame> frame = co_await Read();
    EXPECT_TRUE(frame.has_value()) << "no answer on stream " << id;
    if (!frame) co_return absl::UnavailableError("end of stream");
    EXPECT_EQ(frame->stream_id, id);
    EXPECT_EQ(frame->type, kTypeResponse);
    ::ttrpc::Response response;
    EXPECT_TRUE(response.ParseFromString(frame->data));
    payload = response.payload();
    co_return absl::Status(static_cast<absl::StatusCode>(response.status().code()), response.status().message());
  }
  void Close() { transport_->Close(); }

  std::string payload;

 private:
  std::unique_ptr<Transport> transport_;
  FrameParser parser_;
};

}  // namespace kata::ttrpc
