// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proto/base/coro.h"
#include "proto/schema/agent.pb.h"
#include "proto/ttrpc/message_stream.h"

namespace kata::shimv2 {

using agent::v1::StdioMessage;

// The guest's end of the stream: the test puts in what the guest says and reads what it was told.
class GuestEnd final : public ttrpc::Stream {
 public:
  explicit GuestEnd(asio::any_io_executor executor)
      : executor_(executor), changed_(std::make_shared<Event>(executor)) {}

  Co<absl::StatusOr<std::string>> Receive() override {
    while (from_guest_.empty()) {
      std::shared_ptr<Event> changed = changed_;
      if (is_over_) co_return absl::OutOfRangeError("over");
      co_await changed->Wait();
    }
    std::string message = std::move(from_guest_.front());
    from_guest_.pop_front();
    co_return message;
  }
  Co<absl::Status> Send(std::string message) override {
    to_guest.emplace_back();
    to_guest.back().ParseFromString(message);
    co_return absl::OkStatus();
  }
  Co<absl::Status> SendFrame(std::string frame) override {
    frame.erase(0, ttrpc::kFrameHeaderSize);
    co_return co_await Send(std::move(frame));
  }
  Co<absl::Status> CloseSend() override { co_return absl::OkStatus(); }

  void Say(const StdioMessage& message) {
    from_guest_.push_back(message.SerializeAsString());
    Wake();
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
    is_over_ = true;
    Wake();
  }

  std::vector<StdioMessage> to_guest;

 private:
  void Wake() { std::exchange(changed_, std::make_shared<Event>(executor_))->Set(); }

  asio::any_io_executor executor_;
  std::deque<std::string> from_guest_;
  bool is_over_ = false;
  std::shared_ptr<Event> changed_;
};

}  // namespace kata::shimv2
