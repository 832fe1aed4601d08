// SPDX-License-Identifier: Apache-2.0
#include "agent/clock.h"

#include <time.h>

#include <algorithm>
#include <cerrno>

#include "agent/base/errors.h"

namespace kata::agent {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

}  // namespace

int64_t HostClockNow(int64_t sent_ns, std::chrono::nanoseconds held, std::chrono::nanoseconds waited) {
  if (held.count() <= 0) return sent_ns;
  const std::chrono::nanoseconds one_way =
      std::clamp<std::chrono::nanoseconds>((waited - held) / 2, std::chrono::nanoseconds(0), kOneWayMax);
  return sent_ns + one_way.count();
}

timex MakeCorrection(int64_t correction_ns, bool is_in_use) {
  timex change{};
  if (is_in_use && correction_ns < 0 && correction_ns >= -std::chrono::nanoseconds(kSlewMax).count()) {
    change.modes = ADJ_OFFSET_SINGLESHOT;
    change.offset = correction_ns / 1000;
    return change;
  }
  // It also drops what is left of slowing down.
  change.modes = ADJ_SETOFFSET | ADJ_NANO;
  change.time.tv_sec = correction_ns / kSecond;
  change.time.tv_usec = correction_ns % kSecond;  // nanoseconds, and never below zero
  if (change.time.tv_usec < 0) {
    change.time.tv_sec -= 1;
    change.time.tv_usec += kSecond;
  }
  return change;
}

int64_t ClockNow() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

absl::Status SetClock(int64_t realtime_ns) {
  const timespec time{.tv_sec = realtime_ns / kSecond, .tv_nsec = realtime_ns % kSecond};
  if (::clock_settime(CLOCK_REALTIME, &time) != 0) return SystemError(errno, "setting the clock");
  return absl::OkStatus();
}

absl::Status CorrectClock(int64_t correction_ns, bool is_in_use) {
  timex change = MakeCorrection(correction_ns, is_in_use);
  if (::clock_adjtime(CLOCK_REALTIME, &change) < 0) return SystemError(errno, "correcting the clock");
  return absl::OkStatus();
}

}  // namespace kata::agent
