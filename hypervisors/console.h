// SPDX-License-Identifier: Apache-2.0
// The guest's serial console: a fifo that QEMU writes, read into a fixed ring. The guest may write without end;
// memory stays at kConsoleRing, and what reaches the log is bounded. Io thread.
#pragma once

#include <sys/types.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "hypervisors/console_log.h"
#include "proto/base/coro.h"

namespace kata::hypervisors {

inline constexpr size_t kConsoleRing = 64u << 10;

class ConsoleRing {
 public:
  void Append(std::string_view data);
  // The last `size_max` bytes at most, beginning at a line where one begins; printable ASCII, newline and tab only.
  std::string Tail(size_t size_max) const;

 private:
  std::string data_;  // at most 2 * kConsoleRing
};

class Console : public std::enable_shared_from_this<Console> {
 public:
  explicit Console(asio::any_io_executor executor) : fifo_(executor) {}
  // From now on each line is logged as well, up to kConsoleLinesLogged.
  void LogLines() { log_.LogAll(); }
  // Makes the fifo for writer `uid` and reads it from now on.
  absl::Status Open(const std::string& path, uid_t uid, gid_t gid);
  void Close();
  // What is waiting in the fifo comes first into the ring.
  std::string Tail(size_t size_max);

 private:
  void ReadNext();
  void Take(std::string_view data);

  asio::posix::stream_descriptor fifo_;
  std::array<char, 4096> chunk_;
  ConsoleRing ring_;
  ConsoleLog log_;
};

}  // namespace kata::hypervisors
