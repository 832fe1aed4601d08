// SPDX-License-Identifier: Apache-2.0
// Coroutine vocabulary. One io_context, one thread: all state is touched there only; blocking work goes through
// RunBlocking to a pool and its result comes back to the io thread. Rules of use: CONTRIBUTING.md.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>
#include <absl/strings/string_view.h>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace kata {

namespace asio = boost::asio;

template <typename T>
using Co = asio::awaitable<T>;

// Completion token that gives errors as values: auto [ec, n] = co_await op(…, kTuple);
inline constexpr asio::as_tuple_t<asio::use_awaitable_t<>> kTuple{asio::use_awaitable};

// Runs `task` as a root coroutine; an error status or an exception is logged under `name`.
void Spawn(asio::any_io_executor executor, std::string name, Co<absl::Status> task);

Co<void> Sleep(std::chrono::nanoseconds duration);

// Maps an Asio error: end of file and reset to Unavailable, operation_aborted to Cancelled, the rest by errno.
absl::Status FromErrorCode(const boost::system::error_code& ec, absl::string_view what);

// A one-shot latch: any number of waiters, released for ever by Set(). Io thread only.
class Latch {
 public:
  explicit Latch(asio::any_io_executor executor);
  Latch(const Latch&) = delete;
  Latch& operator=(const Latch&) = delete;
  void Set();
  bool is_set() const { return is_set_; }
  Co<void> Wait();
  // False when `timeout` passed first.
  Co<bool> WaitFor(std::chrono::nanoseconds timeout);

 private:
  asio::any_io_executor executor_;
  bool is_set_ = false;
  std::vector<asio::steady_timer*> waiters_;
};

// What a spawned call leaves to one that waits for it for a while only. Io thread only.
struct Outcome {
  explicit Outcome(const asio::any_io_executor& executor) : known(executor) {}
  Latch known;
  absl::Status status;
  bool is_given_up = false;  // nobody waits any more
};

// Runs `job` on `pool` and resumes on the io thread with its result. An exception becomes Internal.
Co<absl::Status> RunBlocking(asio::thread_pool& pool, std::function<absl::Status()> job);

template <typename T>
Co<absl::StatusOr<T>> RunBlockingFor(asio::thread_pool& pool, std::function<absl::StatusOr<T>()> job) {
  auto result = std::make_shared<absl::StatusOr<T>>(absl::UnknownError("not run"));
  std::function<absl::Status()> wrapped = [result, job = std::move(job)]() -> absl::Status {
    *result = job();
    return result->status();
  };
  absl::Status status = co_await RunBlocking(pool, std::move(wrapped));
  if (!status.ok()) co_return status;
  co_return std::move(*result);
}

}  // namespace kata
