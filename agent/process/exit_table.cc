// SPDX-License-Identifier: Apache-2.0
#include "agent/process/exit_table.h"

#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include <boost/asio/signal_set.hpp>

namespace kata::agent {

int ExitStatusOf(int wait_status) {
  if (WIFSIGNALED(wait_status)) return 128 + WTERMSIG(wait_status);
  return WEXITSTATUS(wait_status);
}

void ExitTable::Register(pid_t pid, Callback callback) { callbacks_[pid] = std::move(callback); }

int ExitTable::Reap() {
  int count = 0;
  for (;;) {
    int wait_status = 0;
    pid_t pid = ::waitpid(-1, &wait_status, WNOHANG);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return count;
    ++count;
    auto found = callbacks_.find(pid);
    if (found == callbacks_.end()) continue;
    Callback callback = std::move(found->second);
    callbacks_.erase(found);
    callback(ExitStatusOf(wait_status));
  }
}

Co<absl::Status> ExitTable::Run() {
  auto executor = co_await asio::this_coro::executor;
  asio::signal_set signals(executor, SIGCHLD);
  for (;;) {
    Reap();
    auto [ec, number] = co_await signals.async_wait(kTuple);
    if (ec) co_return FromErrorCode(ec, "waiting for SIGCHLD");
  }
}

}  // namespace kata::agent
