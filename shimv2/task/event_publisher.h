// SPDX-License-Identifier: Apache-2.0
// Publishes task events to containerd in the order they happened (docs/shim-contract.md section 7). One queue, one
// sender; publishing never waits. Io thread only.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "proto/base/coro.h"

namespace kata::shimv2 {

// Events kept while containerd is away; the oldest goes first when more come (as the stock shim's queue).
inline constexpr size_t kEventQueueMax = 2048;
// How long one event is tried before it is dropped with a warning.
inline constexpr std::chrono::seconds kEventPatience{120};

class EventPublisher {
 public:
  // `address`: path of containerd's ttrpc socket; empty (CRI-O) = events go nowhere.
  static std::shared_ptr<EventPublisher> Make(asio::any_io_executor executor, std::string address,
                                              std::string name_space);
  virtual ~EventPublisher() = default;
  // `type`: bare message name, e.g. containerd.events.TaskExit.
  virtual void Publish(std::string topic, std::string type, std::string payload) = 0;
  // Waits until the queue is empty, at most `timeout`.
  virtual Co<void> Flush(std::chrono::nanoseconds timeout) = 0;
};

}  // namespace kata::shimv2
