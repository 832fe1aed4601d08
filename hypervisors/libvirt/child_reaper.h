// SPDX-License-Identifier: Apache-2.0
// Collects the orphans that libvirt's daemonising children leave to this process, which becomes their subreaper.
// libvirt waits for its own direct children, and so do others, so only these are taken: ended children of a foreign
// session that are not its leader (never a direct child), at once; session leaders whose program is the emulator,
// after one second. Io thread. One instance per process.
#pragma once

#include <map>
#include <memory>
#include <string>

#include <boost/asio/signal_set.hpp>

#include "proto/base/coro.h"

namespace kata::hypervisors {

class ChildReaper : public std::enable_shared_from_this<ChildReaper> {
 public:
  // `program_prefix` is how the emulator's name in /proc/PID/stat begins.
  ChildReaper(asio::any_io_executor executor, std::string program_prefix);

  // Makes the process a subreaper and starts to listen to SIGCHLD.
  absl::Status Start();
  void Stop();
  // Collects what is due now; true when a session leader is left for later.
  bool Scan();

 private:
  void ListenForSignal();
  void ScanLater();

  asio::signal_set signals_;
  asio::steady_timer timer_;
  std::string program_prefix_;
  std::map<int, std::chrono::steady_clock::time_point> leaders_;  // first seen ended
  bool is_timer_set_ = false;
  bool is_stopped_ = false;
};

}  // namespace kata::hypervisors
