// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup/file_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "agent/base/errors.h"
#include "proto/base/log.h"

namespace kata::agent {
namespace {

constexpr size_t kReadSize = 4096;

}  // namespace

// Shared with the reading coroutine, which may outlast the watcher.
struct FileWatch::Kernel {
  explicit Kernel(asio::any_io_executor executor) : inotify(std::move(executor)) {}
  asio::posix::stream_descriptor inotify;
  // The kernel gives one number per file, however often it is asked.
  std::map<int, std::vector<std::weak_ptr<FileWatch>>> watches;

  void Dispatch(const char* bytes, size_t size) {
    size_t at = 0;
    while (at + sizeof(inotify_event) <= size) {
      inotify_event event;
      std::memcpy(&event, bytes + at, sizeof(event));
      at += sizeof(event) + event.len;
      if (event.mask & IN_Q_OVERFLOW) {
        for (auto& [number, list] : watches) WakeAll(list);
      } else if (auto found = watches.find(event.wd); found != watches.end()) {
        WakeAll(found->second);
      }
    }
  }
  static void WakeAll(const std::vector<std::weak_ptr<FileWatch>>& list) {
    for (const auto& weak : list) {
      if (auto watch = weak.lock()) watch->Wake();
    }
  }
  // A watch of the kernel outlives a removed cgroup and keeps its memory.
  void Drop(int number) {
    auto found = watches.find(number);
    if (found == watches.end()) return;
    std::erase_if(found->second, [](const auto& weak) { return weak.expired(); });
    if (!found->second.empty()) return;
    watches.erase(found);
    if (inotify.is_open()) ::inotify_rm_watch(inotify.native_handle(), number);
  }
};

FileWatch::FileWatch(asio::any_io_executor executor)
    : executor_(std::move(executor)), next_(std::make_shared<Latch>(executor_)) {}

FileWatch::~FileWatch() {
  Wake();
  if (auto kernel = kernel_.lock()) kernel->Drop(number_);
}

void FileWatch::Wake() {
  auto event = std::exchange(next_, std::make_shared<Latch>(executor_));
  event->Set();
}

Co<void> FileWatch::WaitFor(std::chrono::nanoseconds limit) {
  // Held here: the watch may be gone when the wait ends.
  auto event = next_;
  if (number_ < 0) limit = std::min<std::chrono::nanoseconds>(limit, kUnwatchedPoll);
  co_await event->WaitFor(limit);
}

FileWatcher::FileWatcher(asio::any_io_executor executor)
    : executor_(std::move(executor)), kernel_(std::make_shared<FileWatch::Kernel>(executor_)) {
  const int fd = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (fd < 0) {
    const absl::Status status = SystemError(errno, "making the watch of control files");
    log::Warn("{}; they are polled", std::string(status.message()));
    return;
  }
  kernel_->inotify.assign(fd);
  Spawn(executor_, "watch of control files", Run(kernel_));
}

FileWatcher::~FileWatcher() {
  boost::system::error_code ignored;
  kernel_->inotify.close(ignored);
}

std::shared_ptr<FileWatch> FileWatcher::Watch(const std::string& path) {
  std::shared_ptr<FileWatch> watch(new FileWatch(executor_));
  if (!kernel_->inotify.is_open()) return watch;
  watch->number_ = ::inotify_add_watch(kernel_->inotify.native_handle(), path.c_str(), IN_MODIFY);
  if (watch->number_ < 0) return watch;
  watch->kernel_ = kernel_;
  kernel_->watches[watch->number_].push_back(watch);
  return watch;
}

Co<absl::Status> FileWatcher::Run(std::shared_ptr<FileWatch::Kernel> kernel) {
  for (;;) {
    alignas(inotify_event) char bytes[kReadSize];
    const ssize_t n = ::read(kernel->inotify.native_handle(), bytes, sizeof(bytes));
    if (n > 0) {
      kernel->Dispatch(bytes, static_cast<size_t>(n));
      continue;
    }
    if (n < 0 && errno != EAGAIN && errno != EINTR) co_return SystemError(errno, "reading changes of control files");
    auto [ec] = co_await kernel->inotify.async_wait(asio::posix::stream_descriptor::wait_read, kTuple);
    if (ec) co_return FromErrorCode(ec, "waiting for changes of control files");
  }
}

}  // namespace kata::agent
