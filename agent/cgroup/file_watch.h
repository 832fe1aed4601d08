// SPDX-License-Identifier: Apache-2.0
// Tells when control files change, by inotify: cgroupfs gives a modify event where the kernel
// notifies. One instance for the agent, made at its start: instances are counted per user, and root
// in a container is the agent's user, so that a container could leave none for later. Io thread
// only.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include "proto/base/coro.h"

namespace kata::agent {

// A file that no watch could be had for is looked at this often instead.
inline constexpr std::chrono::milliseconds kUnwatchedPoll{500};

// Interest in one file, for as long as it lives. A waiter reads the file first and then waits; no
// suspension may stand between the two.
class FileWatch {
 public:
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;
  // Returns at the next change, at Wake, or when `limit` has passed.
  Co<void> WaitFor(std::chrono::nanoseconds limit);
  // Releases everyone who waits now.
  void Wake();

 private:
  friend class FileWatcher;
  struct Kernel;
  explicit FileWatch(asio::any_io_executor executor);
  asio::any_io_executor executor_;
  std::shared_ptr<Latch> next_;
  std::weak_ptr<Kernel> kernel_;
  int number_ = -1;  // of the kernel's watch; -1: there is none
};

class FileWatcher {
 public:
  explicit FileWatcher(asio::any_io_executor executor);
  ~FileWatcher();
  FileWatcher(const FileWatcher&) = delete;
  FileWatcher& operator=(const FileWatcher&) = delete;
  // Without a watch of the kernel the waiters look every kUnwatchedPoll.
  std::shared_ptr<FileWatch> Watch(const std::string& path);

 private:
  static Co<absl::Status> Run(std::shared_ptr<FileWatch::Kernel> kernel);
  asio::any_io_executor executor_;
  std::shared_ptr<FileWatch::Kernel> kernel_;
};

}  // namespace kata::agent
