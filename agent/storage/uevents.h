// SPDX-License-Identifier: Apache-2.0
// News of the guest's kernel about devices. A message says only that there is something to look at: what there is,
// sysfs says. Io thread only.
#pragma once

#include <list>
#include <memory>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "proto/base/coro.h"

namespace kata::agent {

class Uevents {
 public:
  explicit Uevents(asio::any_io_executor executor);

  // Listens from now on; legal once.
  absl::Status Start();
  // Returns at the next event after the call, or after `timeout`. Look at sysfs between Start and the first call: what
  // came before it is not told again.
  Co<void> WaitFor(std::chrono::nanoseconds timeout);

 private:
  void Listen();

  asio::any_io_executor executor_;
  asio::posix::stream_descriptor socket_;
  std::list<asio::steady_timer*> waiters_;
};

}  // namespace kata::agent
