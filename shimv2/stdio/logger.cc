// SPDX-License-Identifier: Apache-2.0
#include "shimv2/stdio/logger.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "proto/base/child_process.h"
#include "proto/base/log.h"
#include "proto/base/process.h"
#include "proto/base/status.h"

namespace kata::shimv2 {
namespace {

constexpr int kCollectTries = 100;
constexpr std::chrono::milliseconds kCollectPause{10};
constexpr idtype_t kByPidfd = static_cast<idtype_t>(3);  // P_PIDFD

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

// The three pipes and the process, as the pool makes them.
struct Spawned {
  ChildProcess process;
  UniqueFd output;
  UniqueFd errors;
  UniqueFd ready;
};

absl::StatusOr<Pipe> MakePipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, "making a pipe");
  Pipe out;
  out.read.reset(ends[0]);
  out.write.reset(ends[1]);
  return out;
}

absl::StatusOr<Spawned> SpawnLogger(const LoggerOptions& options) {
  ChildOptions child;
  child.name = "logger";
  child.words = options.command.words;
  child.environment = {absl::StrCat("CONTAINER_ID=", options.process_id),
                       absl::StrCat("CONTAINER_NAMESPACE=", options.name_space)};
  ASSIGN_OR_RETURN(Pipe output, MakePipe());
  ASSIGN_OR_RETURN(Pipe errors, MakePipe());
  ASSIGN_OR_RETURN(Pipe ready, MakePipe());
  child.descriptors = {output.read.get(), errors.read.get(), ready.write.get()};
  Spawned out;
  // In our session, which the reaper of orphans leaves alone.
  ASSIGN_OR_RETURN(out.process, StartChild(child));
  out.output = std::move(output.write);
  out.errors = std::move(errors.write);
  out.ready = std::move(ready.read);
  return out;
}

class LoggerProcess final : public Logger, public std::enable_shared_from_this<LoggerProcess> {
 public:
  LoggerProcess(asio::any_io_executor executor, LoggerOptions options, Spawned spawned)
      : options_(std::move(options)),
        pid_(spawned.process.pid),
        output_(std::move(spawned.output)),
        errors_(std::move(spawned.errors)),
        ready_(executor, spawned.ready.release()),
        pidfd_(executor, spawned.process.pidfd.release()),
        ready_known_(executor),
        ended_(executor) {}

  void Run(asio::any_io_executor executor) {
    Spawn(executor, "watching a logger", WatchEnd(shared_from_this()));
    Spawn(executor, "waiting for a logger", WatchReady(shared_from_this()));
  }

  Co<absl::Status> WaitReady() {
    auto self = shared_from_this();
    const std::string what = absl::StrCat("starting logger \"", options_.command.words[0], "\"");
    bool is_known = co_await ready_known_.WaitFor(options_.ready_timeout);
    if (!is_known) {
      co_return absl::DeadlineExceededError(
          absl::StrCat(what, ": it was not ready within ", options_.ready_timeout.count(), " ms"));
    }
    if (options_.command.must_say_ready && !has_said_ready_) {
      co_return absl::InternalError(absl::StrCat(what, ": it closed its ready pipe without a word"));
    }
    co_return absl::OkStatus();
  }

  pid_t pid() const override { return pid_; }
  bool has_ended() const override { return ended_.is_set(); }
  UniqueFd TakeOutput() override { return std::move(output_); }
  UniqueFd TakeErrors() override { return std::move(errors_); }

  Co<void> Stop() override {
    auto self = shared_from_this();
    output_.reset();
    errors_.reset();
    if (!ended_.is_set() && !is_stopping_) Signal(SIGTERM);
    is_stopping_ = true;
    bool has_stopped = co_await ended_.WaitFor(options_.term_timeout);
    if (has_stopped) co_return;
    log::Warn("logger \"{}\" did not end on SIGTERM; killing it", options_.command.words[0]);
    ::kill(-pid_, SIGKILL);  // its whole group; not collected yet, so the number is still its own
    co_await ended_.Wait();
  }

 private:
  void Signal(int signal) { SignalProcess(pidfd_.native_handle(), signal); }

  // Children of an ended logger have become ours.
  static Co<void> CollectGroup(pid_t group) {
    for (int i = 0; i < kCollectTries; ++i) {
      siginfo_t info{};
      if (::waitid(P_PGID, static_cast<id_t>(group), &info, WEXITED | WNOHANG) != 0) co_return;  // none is left
      if (info.si_pid == 0) co_await Sleep(kCollectPause);
    }
  }

  static Co<absl::Status> WatchReady(std::shared_ptr<LoggerProcess> self) {
    char byte = 0;
    auto [ec, n] = co_await self->ready_.async_read_some(asio::buffer(&byte, 1), kTuple);
    self->has_said_ready_ = !ec && n == 1;
    self->ready_known_.Set();
    boost::system::error_code ignored;
    self->ready_.close(ignored);
    co_return absl::OkStatus();
  }

  static Co<absl::Status> WatchEnd(std::shared_ptr<LoggerProcess> self) {
    siginfo_t info{};
    while (true) {
      auto [ec] = co_await self->pidfd_.async_wait(asio::posix::stream_descriptor::wait_read, kTuple);
      if (ec) co_return FromErrorCode(ec, "waiting for a logger");
      const auto id = static_cast<id_t>(self->pidfd_.native_handle());
      // What it leaves in its group when it is told to end goes with it; until it is collected the number is its own.
      if (self->is_stopping_) ::kill(-self->pid_, SIGKILL);
      if (::waitid(kByPidfd, id, &info, WEXITED | WNOHANG) != 0 || info.si_pid != 0) break;
    }
    if (self->is_stopping_) co_await CollectGroup(self->pid_);
    self->ended_.Set();
    boost::system::error_code ignored;
    self->pidfd_.close(ignored);
    // What it wrote until now is its own; later output of the process is dropped by the relay, which says so.
    if (!self->is_stopping_ && (info.si_code != CLD_EXITED || info.si_status != 0)) {
      const char* how = info.si_code == CLD_EXITED ? "status" : "signal";
      log::Warn("logger \"{}\" ended with {} {}", self->options_.command.words[0], how, info.si_status);
    }
    co_return absl::OkStatus();
  }

  LoggerOptions options_;
  pid_t pid_;
  UniqueFd output_;
  UniqueFd errors_;
  asio::posix::stream_descriptor ready_;
  asio::posix::stream_descriptor pidfd_;
  bool has_said_ready_ = false;
  bool is_stopping_ = false;
  Latch ready_known_;
  Latch ended_;
};

}  // namespace

Co<absl::StatusOr<std::shared_ptr<Logger>>> Logger::Start(asio::any_io_executor executor, asio::thread_pool& pool,
                                                          LoggerOptions options) {
  std::function<absl::StatusOr<std::shared_ptr<Spawned>>()> job =
      [options]() -> absl::StatusOr<std::shared_ptr<Spawned>> {
    ASSIGN_OR_RETURN(Spawned spawned, SpawnLogger(options));
    return std::make_shared<Spawned>(std::move(spawned));
  };
  auto spawned = co_await RunBlockingFor<std::shared_ptr<Spawned>>(pool, std::move(job));
  if (!spawned.ok()) co_return spawned.status();
  auto logger = std::make_shared<LoggerProcess>(executor, std::move(options), std::move(**spawned));
  logger->Run(executor);
  absl::Status ready = co_await logger->WaitReady();
  if (!ready.ok()) {
    co_await logger->Stop();
    co_return ready;
  }
  co_return std::shared_ptr<Logger>(std::move(logger));
}

}  // namespace kata::shimv2
