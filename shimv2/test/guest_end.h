// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>

#include <cstdlib>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "proto/base/coro.h"
#include "proto/base/fd.h"
#include "proto/schema/agent.pb.h"
#include "proto/ttrpc/message_stream.h"
#include "proto/ttrpc/transport.h"

namespace kata::shimv2 {

using agent::v1::StdioMessage;

// The guest's end of a stdio stream over a real connection, with its real limits: the test puts in what the guest says
// and reads what it was told.
class GuestEnd {
 public:
  explicit GuestEnd(asio::any_io_executor executor)
      : executor_(executor), state_(std::make_shared<State>(executor)), to_guest(state_->to_guest) {
    int ends[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
    state_->services.AddStream(kService, kMethod,
                               [state = state_.get()](ttrpc::CallContext, std::shared_ptr<ttrpc::Stream> stream) {
                                 return Serve(state->shared_from_this(), std::move(stream));
                               });
    guest_ = ttrpc::Connection::Start(executor, ttrpc::MakeFdTransport(executor, UniqueFd(ends[0])), &state_->services);
    host_ = ttrpc::Connection::Start(executor, ttrpc::MakeFdTransport(executor, UniqueFd(ends[1])), nullptr);
  }
  ~GuestEnd() {
    host_->Close(absl::CancelledError("test over"));
    guest_->Close(absl::CancelledError("test over"));
  }
  GuestEnd(const GuestEnd&) = delete;
  GuestEnd& operator=(const GuestEnd&) = delete;

  // The host's end; once.
  Co<absl::StatusOr<std::shared_ptr<ttrpc::Stream>>> Open() {
    std::shared_ptr<ttrpc::Connection> host = host_;
    co_return co_await host->OpenStream(kService, kMethod);
  }

  void Say(const StdioMessage& message) {
    state_->from_guest.push_back(message.SerializeAsString());
    state_->Wake();
  }
  void SayData(StdioMessage::Channel channel, std::string data) {
    StdioMessage message;
    message.mutable_data()->set_channel(channel);
    message.mutable_data()->set_data(std::move(data));
    Say(message);
  }
  void SayEnd(StdioMessage::Channel channel) {
    StdioMessage message;
    message.set_end(channel);
    Say(message);
  }
  void End() {
    state_->is_over = true;
    state_->Wake();
  }
  // The host has ended its direction of the call, or its stream is broken.
  bool has_host_ended() const { return state_->has_host_ended; }

 private:
  static constexpr char kService[] = "test.Guest";
  static constexpr char kMethod[] = "Stdio";

  // Outlives the tests' object while its coroutines end.
  struct State : std::enable_shared_from_this<State> {
    explicit State(asio::any_io_executor ex) : executor(ex), changed(std::make_shared<Latch>(ex)) {}
    void Wake() { std::exchange(changed, std::make_shared<Latch>(executor))->Set(); }

    asio::any_io_executor executor;
    ttrpc::ServiceMap services;
    std::deque<std::string> from_guest;
    std::vector<StdioMessage> to_guest;
    bool is_over = false;
    bool has_host_ended = false;
    std::shared_ptr<Latch> changed;
  };

  static Co<absl::Status> Serve(std::shared_ptr<State> state, std::shared_ptr<ttrpc::Stream> stream) {
    Spawn(state->executor, "what the guest is told", Listen(state, stream));
    for (;;) {
      if (state->from_guest.empty()) {
        if (state->is_over || state->has_host_ended) co_return absl::OkStatus();
        std::shared_ptr<Latch> changed = state->changed;
        co_await changed->Wait();
        continue;
      }
      std::string message = std::move(state->from_guest.front());
      state->from_guest.pop_front();
      absl::Status sent = co_await stream->Send(std::move(message));
      if (!sent.ok()) co_return absl::OkStatus();
    }
  }

  static Co<absl::Status> Listen(std::shared_ptr<State> state, std::shared_ptr<ttrpc::Stream> stream) {
    auto bytes = co_await stream->Receive();
    while (bytes.ok()) {
      state->to_guest.emplace_back();
      state->to_guest.back().ParseFromString(*bytes);
      bytes = co_await stream->Receive();
    }
    state->has_host_ended = true;
    state->Wake();
    co_return absl::OkStatus();
  }

  asio::any_io_executor executor_;
  std::shared_ptr<State> state_;
  std::shared_ptr<ttrpc::Connection> guest_;
  std::shared_ptr<ttrpc::Connection> host_;

 public:
  std::vector<StdioMessage>& to_guest;
};

}  // namespace kata::shimv2
