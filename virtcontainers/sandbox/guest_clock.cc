// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/guest_clock.h"

#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "proto/base/fd.h"
#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/schema/agent.ttrpc.h"

namespace kata::virtcontainers {
namespace {

// None: a machine that stands still has one question to answer when it goes on, and its clock is looked at then.
constexpr std::chrono::nanoseconds kNoTimeout{0};

int64_t HostClockNow() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

// Waits by the host's wall clock: a time in which the host was suspended counts, and a wait ends when that clock is
// set.
class WallTimer {
 public:
  explicit WallTimer(const asio::any_io_executor& executor) : descriptor_(executor) {}

  absl::Status Open() {
    UniqueFd fd(::timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!fd.valid()) return ErrnoStatus(errno, "making a timer");
    descriptor_.assign(fd.release());
    return absl::OkStatus();
  }
  Co<absl::Status> Wait(std::chrono::seconds duration) {
    itimerspec at{};
    ::clock_gettime(CLOCK_REALTIME, &at.it_value);
    at.it_value.tv_sec += duration.count();
    if (::timerfd_settime(descriptor_.native_handle(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at, nullptr) !=
        0) {
      if (errno == ECANCELED) co_return absl::OkStatus();  // set since the last wait
      co_return ErrnoStatus(errno, "setting a timer");
    }
    co_await descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, kTuple);
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t read = ::read(descriptor_.native_handle(), &count, sizeof(count));
    co_return absl::OkStatus();
  }
  void Cancel() {
    boost::system::error_code ignored;  // nobody waits then
    descriptor_.cancel(ignored);
  }

 private:
  asio::posix::stream_descriptor descriptor_;
};

Co<absl::Status> CancelWhenClosed(std::shared_ptr<ttrpc::Connection> connection, std::shared_ptr<WallTimer> timer) {
  [[maybe_unused]] const absl::Status reason = co_await connection->WaitClosed();
  timer->Cancel();
  co_return absl::OkStatus();
}

Co<absl::StatusOr<ClockSample>> Ask(std::shared_ptr<ttrpc::Connection> connection, int64_t correction_ns) {
  agent::v1::AgentClient client(connection);
  agent::v1::SyncClockRequest request;
  request.set_correction_ns(correction_ns);
  const auto sent_at = std::chrono::steady_clock::now();
  auto response = co_await client.SyncClock(std::move(request), kNoTimeout);
  if (!response.ok()) co_return response.status();
  ClockSample sample;
  sample.round_trip_ns = std::chrono::nanoseconds(std::chrono::steady_clock::now() - sent_at).count();
  sample.host_ns = HostClockNow();
  sample.guest_ns = response->clock_realtime_ns();
  co_return sample;
}

// Whether it was wrong; then it is corrected.
Co<absl::StatusOr<bool>> Sync(std::shared_ptr<ttrpc::Connection> connection) {
  constexpr int64_t kGood = std::chrono::nanoseconds(kClockRoundTripGood).count();
  std::vector<ClockSample> samples;
  do {
    auto sample = co_await Ask(connection, 0);
    if (!sample.ok()) co_return sample.status();
    samples.push_back(*sample);
  } while (samples.size() < kClockSamplesMax && samples.back().round_trip_ns > kGood);
  const ClockOffset offset = OffsetOf(samples);
  log::Debug("the guest's clock is ahead by {} us, give or take {}", offset.ahead_ns / 1000, offset.error_ns / 1000);
  if (!IsOff(offset)) co_return false;
  auto corrected = co_await Ask(connection, -offset.ahead_ns);
  if (!corrected.ok()) co_return corrected.status();
  co_return true;
}

Co<absl::Status> SyncForEver(std::shared_ptr<ttrpc::Connection> connection, std::shared_ptr<WallTimer> timer) {
  std::chrono::seconds pause = kClockPauseMin;
  bool was_off = false;
  for (;;) {
    auto is_off = co_await Sync(connection);
    if (!is_off.ok()) co_return is_off.status();
    pause = NextClockPause(pause, was_off, *is_off);
    was_off = *is_off;
    if (connection->is_closed()) co_return absl::OkStatus();
    absl::Status waited = co_await timer->Wait(pause);
    if (!waited.ok()) co_return waited;
  }
}

}  // namespace

ClockOffset OffsetOf(const std::vector<ClockSample>& samples) {
  const ClockSample& best = *std::min_element(samples.begin(), samples.end(), [](const auto& one, const auto& other) {
    return one.round_trip_ns < other.round_trip_ns;
  });
  const int64_t error = best.round_trip_ns / 2;
  const int64_t host = best.host_ns - error;
  // Below zero there is no clock, and the difference of two numbers that are not negative has room.
  return {.ahead_ns = std::max<int64_t>(best.guest_ns, 0) - host, .error_ns = error};
}

bool IsOff(const ClockOffset& offset) {
  const int64_t tolerated = std::max(offset.error_ns, std::chrono::nanoseconds(kClockTolerance).count());
  return offset.ahead_ns > tolerated || offset.ahead_ns < -tolerated;
}

std::chrono::seconds NextClockPause(std::chrono::seconds pause, bool was_off, bool is_off) {
  if (is_off && !was_off) return kClockPauseMin;
  return std::min(2 * pause, kClockPauseMax);
}

void AddClock(std::chrono::steady_clock::time_point hello_answered_at, agent::v1::CreateSandboxRequest& request) {
  const std::chrono::nanoseconds age = std::chrono::steady_clock::now() - hello_answered_at;
  request.set_hello_age_ns(age.count());
  request.set_clock_realtime_ns(HostClockNow());
}

Co<absl::Status> KeepClock(std::shared_ptr<ttrpc::Connection> connection) {
  auto executor = co_await asio::this_coro::executor;
  auto timer = std::make_shared<WallTimer>(executor);
  CO_RETURN_IF_ERROR(timer->Open());
  Spawn(executor, "watching the agent for its clock", CancelWhenClosed(connection, timer));
  absl::Status status = co_await SyncForEver(connection, timer);
  if (connection->is_closed()) co_return absl::OkStatus();
  log::Warn("the guest's clock is left alone from now on: {}", status.message());
  co_return absl::OkStatus();
}

}  // namespace kata::virtcontainers
