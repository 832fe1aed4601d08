// SPDX-License-Identifier: Apache-2.0
// The guest's wall clock, which follows the host's. What is done to it is chosen by pure functions; SetClock and
// CorrectClock do it, and belong into a guest alone.
#pragma once

#include <sys/timex.h>

#include <chrono>
#include <cstdint>

#include <absl/status/status.h>

namespace kata::agent {

// A clock that is ahead of the host's by no more than this is slowed down until it is right: at the kernel's 0.5 ms a
// second it takes up to 20 s. One that is further ahead is set back.
inline constexpr std::chrono::milliseconds kSlewMax{10};
// More than this for one way to the guest is not believed.
inline constexpr std::chrono::seconds kOneWayMax{1};

// What the host's clock shows when a request is here that left at `sent_ns`. The guest has waited `waited` between its
// answer to Hello and the request, of which the host had the answer for `held`; the rest was on the way, half of it
// each way. `held` of 0: the host does not say.
int64_t HostClockNow(int64_t sent_ns, std::chrono::nanoseconds held, std::chrono::nanoseconds waited);

// `correction_ns` is added to the clock. Programs that run (`is_in_use`) do not see it step back by a little.
timex MakeCorrection(int64_t correction_ns, bool is_in_use);

int64_t ClockNow();
absl::Status SetClock(int64_t realtime_ns);
absl::Status CorrectClock(int64_t correction_ns, bool is_in_use);

}  // namespace kata::agent
