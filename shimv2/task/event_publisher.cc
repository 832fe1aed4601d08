// SPDX-License-Identifier: Apache-2.0
#include "shimv2/task/event_publisher.h"

#include <time.h>

#include <deque>
#include <utility>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/schema/events_service.ttrpc.h"

namespace kata::shimv2 {
namespace {

using containerd::services::events::ttrpc::v1::EventsClient;
using containerd::services::events::ttrpc::v1::ForwardRequest;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kForwardTimeout{5};
constexpr std::chrono::milliseconds kRetryDelay{500};

struct QueuedEvent {
  ForwardRequest request;
  Clock::time_point queued_at;
};

class QueueingPublisher final : public EventPublisher, public std::enable_shared_from_this<QueueingPublisher> {
 public:
  QueueingPublisher(asio::any_io_executor executor, std::string address, std::string name_space)
      : executor_(std::move(executor)), address_(std::move(address)), name_space_(std::move(name_space)) {}

  void Publish(std::string topic, std::string type, std::string payload) override {
    if (address_.empty()) return;
    if (queue_.size() >= kEventQueueMax) {
      log::Warn("dropping an event: the queue of {} is full", kEventQueueMax);
      // The first may be under way in the sender; the one behind it goes.
      queue_.erase(queue_.begin() + 1);
    }
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    QueuedEvent event;
    event.queued_at = Clock::now();
    auto* envelope = event.request.mutable_envelope();
    envelope->mutable_timestamp()->set_seconds(now.tv_sec);
    envelope->mutable_timestamp()->set_nanos(static_cast<int32_t>(now.tv_nsec));
    envelope->set_namespace_(name_space_);
    envelope->set_topic(std::move(topic));
    envelope->mutable_event()->set_type_url(std::move(type));
    envelope->mutable_event()->set_value(std::move(payload));
    queue_.push_back(std::move(event));
    if (!is_sending_) {
      is_sending_ = true;
      empty_ = std::make_shared<Latch>(executor_);
      Spawn(executor_, "publishing events", SendAll(shared_from_this()));
    }
  }

  Co<void> Flush(std::chrono::nanoseconds timeout) override {
    auto self = shared_from_this();
    if (!is_sending_) co_return;
    std::shared_ptr<Latch> empty = empty_;
    co_await empty->WaitFor(timeout);
  }

 private:
  static Co<absl::Status> SendAll(std::shared_ptr<QueueingPublisher> self) {
    while (!self->queue_.empty()) {
      absl::Status status = co_await self->SendFirst();
      if (!status.ok()) {
        if (self->connection_) self->connection_->Close(absl::CancelledError("it gave no answer"));
        self->connection_.reset();
        if (Clock::now() - self->queue_.front().queued_at < kEventPatience) {
          co_await Sleep(kRetryDelay);
          continue;
        }
        log::Warn("dropping event \"{}\": {}", self->queue_.front().request.envelope().topic(), status.message());
      }
      self->queue_.pop_front();
    }
    self->is_sending_ = false;
    self->empty_->Set();
    co_return absl::OkStatus();
  }

  Co<absl::Status> SendFirst() {
    if (connection_ == nullptr) {
      auto fd = ttrpc::ConnectUnix(address_);
      if (!fd.ok()) co_return fd.status();
      connection_ = ttrpc::Connection::Start(executor_, ttrpc::MakeFdTransport(executor_, std::move(*fd)), nullptr);
    }
    EventsClient client(connection_);
    ForwardRequest request = queue_.front().request;
    auto response = co_await client.Forward(request, kForwardTimeout);
    // A refusal is final: only a lost connection or a silent containerd is worth another try.
    if (!response.ok() && !absl::IsUnavailable(response.status()) && !absl::IsDeadlineExceeded(response.status())) {
      log::Warn("publishing event \"{}\": {}", request.envelope().topic(), response.status().message());
      co_return absl::OkStatus();
    }
    co_return response.status();
  }

  asio::any_io_executor executor_;
  std::string address_;
  std::string name_space_;
  std::deque<QueuedEvent> queue_;
  bool is_sending_ = false;
  std::shared_ptr<Latch> empty_;
  std::shared_ptr<ttrpc::Connection> connection_;
};

}  // namespace

std::shared_ptr<EventPublisher> EventPublisher::Make(asio::any_io_executor executor, std::string address,
                                                     std::string name_space) {
  return std::make_shared<QueueingPublisher>(std::move(executor), std::move(address), std::move(name_space));
}

}  // namespace kata::shimv2
