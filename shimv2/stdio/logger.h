// SPDX-License-Identifier: Apache-2.0
// The logger process of one container process (docs/shim-contract.md section 6, stdio): reads the output from
// descriptors 3 and 4, tells on 5 that it is ready. It lives in a process group of its own; it sees end of file when
// the shim closes its ends or dies. Io thread only.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "proto/base/coro.h"
#include "proto/base/fd.h"
#include "shimv2/stdio/logger_uri.h"

namespace kata::shimv2 {

// A logger that does not become ready fails the Create or Start of its process.
inline constexpr std::chrono::seconds kLoggerReadyTimeout{30};
// After SIGTERM, before SIGKILL (as the stock shim).
inline constexpr std::chrono::seconds kLoggerTermTimeout{12};

struct LoggerOptions {
  LoggerCommand command;
  std::string process_id;  // CONTAINER_ID: the container's id or the exec's
  std::string name_space;  // CONTAINER_NAMESPACE
  std::chrono::milliseconds ready_timeout = kLoggerReadyTimeout;
  std::chrono::milliseconds term_timeout = kLoggerTermTimeout;
};

class Logger {
 public:
  // Starts it and waits until it is ready; on failure it is gone.
  static Co<absl::StatusOr<std::shared_ptr<Logger>>> Start(asio::any_io_executor executor, asio::thread_pool& pool,
                                                           LoggerOptions options);
  virtual ~Logger() = default;
  virtual pid_t pid() const = 0;
  virtual bool has_ended() const = 0;
  // Our ends of its pipes, once.
  virtual UniqueFd TakeOutput() = 0;
  virtual UniqueFd TakeErrors() = 0;
  // SIGTERM, SIGKILL after the term timeout; returns when it has ended and is collected. Close our ends first.
  // Idempotent.
  virtual Co<void> Stop() = 0;
};

}  // namespace kata::shimv2
