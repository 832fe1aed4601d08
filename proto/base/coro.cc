// SPDX-License-Identifier: Apache-2.0
#include "proto/base/coro.h"

#include <algorithm>
#include <exception>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>

#include "proto/base/log.h"
#include "proto/base/status.h"

namespace kata {

void Spawn(asio::any_io_executor executor, std::string name, Co<absl::Status> task) {
  asio::co_spawn(executor, std::move(task), [name = std::move(name)](std::exception_ptr error, absl::Status status) {
    if (error) {
      try {
        std::rethrow_exception(error);
      } catch (const std::exception& e) {
        log::Error("{}: unexpected exception: {}", name, e.what());
      }
    } else if (!status.ok() && !absl::IsCancelled(status)) {
      log::Error("{}: {}", name, status.message());
    }
  });
}

Co<void> Sleep(std::chrono::nanoseconds duration) {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  timer.expires_after(duration);
  co_await timer.async_wait(kTuple);
}

absl::Status FromErrorCode(const boost::system::error_code& ec, absl::string_view what) {
  if (!ec) return absl::OkStatus();
  if (ec == asio::error::operation_aborted) return absl::CancelledError(absl::StrCat(what, ": cancelled"));
  if (ec == asio::error::eof) return absl::UnavailableError(absl::StrCat(what, ": end of stream"));
  if (ec == asio::error::connection_reset || ec == asio::error::broken_pipe) {
    return absl::UnavailableError(absl::StrCat(what, ": ", ec.message()));
  }
  return ErrnoStatus(ec.value(), what);
}

Latch::Latch(asio::any_io_executor executor) : executor_(std::move(executor)) {}

void Latch::Set() {
  is_set_ = true;
  for (asio::steady_timer* timer : std::exchange(waiters_, {})) timer->cancel();
}

Co<void> Latch::Wait() {
  while (!is_set_) co_await WaitFor(std::chrono::hours(24));
}

Co<bool> Latch::WaitFor(std::chrono::nanoseconds timeout) {
  if (is_set_) co_return true;
  asio::steady_timer timer(executor_);
  timer.expires_after(timeout);
  waiters_.push_back(&timer);
  co_await timer.async_wait(kTuple);
  // Set() emptied the list; only a time-out leaves the entry behind.
  if (!is_set_) waiters_.erase(std::find(waiters_.begin(), waiters_.end(), &timer));
  co_return is_set_;
}

Co<absl::Status> RunBlocking(asio::thread_pool& pool, std::function<absl::Status()> job) {
  struct Call {
    explicit Call(asio::any_io_executor ex) : done(std::move(ex)) {}
    Latch done;
    absl::Status status;
  };
  auto executor = co_await asio::this_coro::executor;
  auto call = std::make_shared<Call>(executor);
  asio::post(pool, [call, executor, job = std::move(job)] {
    absl::Status status;
    try {
      status = job();
    } catch (const std::exception& e) {
      status = absl::InternalError(e.what());
    }
    asio::post(executor, [call, status = std::move(status)] {
      call->status = status;
      call->done.Set();
    });
  });
  co_await call->done.Wait();
  co_return call->status;
}

}  // namespace kata
