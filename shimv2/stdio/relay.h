// SPDX-License-Identifier: Apache-2.0
// Moves the bytes of one process between its stdio stream from the guest and the client's fifos, under the byte credit
// of agent.proto: a reader that stalls holds up its own channel only, and what the guest may have in flight is bounded.
// Io thread only.
#pragma once

#include <chrono>
#include <memory>

#include "proto/base/coro.h"
#include "shimv2/stdio/files.h"
#include "virtcontainers/process.h"

namespace kata::shimv2 {

class StdioRelay {
 public:
  // `pool` writes output that goes to a regular file, which may take its time; it outlives the relay.
  static std::shared_ptr<StdioRelay> Start(asio::any_io_executor executor, asio::thread_pool& pool, StdioFiles files,
                                           std::shared_ptr<virtcontainers::StdioStream> stream);
  virtual ~StdioRelay() = default;
  // CloseIO: closes our write end of stdin's fifo; the process sees end of file once the client's end is closed as well
  // and all data has passed. Idempotent.
  virtual void CloseStdin() = 0;
  // True once every output byte is written, read by the client where a fifo took it, and the fifos are closed. A fifo
  // that nobody reads any more is closed after a second, one that nobody has read from after a tenth. False when
  // nothing was written for `timeout`, or when it takes five times as long altogether.
  virtual Co<bool> WaitDrained(std::chrono::nanoseconds timeout) = 0;
  // Ends everything at once, written or not. Idempotent.
  virtual void Close() = 0;
};

}  // namespace kata::shimv2
