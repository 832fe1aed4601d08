// SPDX-License-Identifier: Apache-2.0
// The guest's wall clock: set nearly right when the sandbox is made, then kept with the host's over the channel. A
// guest that lies gets a wrong clock and costs a few short calls in each pause. Io thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "proto/base/coro.h"
#include "proto/schema/agent.pb.h"
#include "proto/ttrpc/connection.h"

namespace kata::virtcontainers {

// What an agent names that has SyncClock.
inline constexpr char kClockFeature[] = "clock";
// A clock that is wrong by no more than this is left alone.
inline constexpr std::chrono::milliseconds kClockTolerance{1};
// Questions in a row, of which the one that is answered soonest counts; and what is soon enough to ask no more.
inline constexpr size_t kClockSamplesMax = 4;
inline constexpr std::chrono::milliseconds kClockRoundTripGood{2};
// Between two looks at the clock: doubled while it is right. What drifts by 300 ppm is wrong by 5 ms after the longest.
inline constexpr std::chrono::seconds kClockPauseMin{1};
inline constexpr std::chrono::seconds kClockPauseMax{16};

// One question and its answer.
struct ClockSample {
  int64_t guest_ns = 0;       // the guest's clock, in between
  int64_t host_ns = 0;        // the host's, when the answer was there
  int64_t round_trip_ns = 0;  // on a clock that nobody sets
};
struct ClockOffset {
  int64_t ahead_ns = 0;  // of the guest's clock; negative when it is behind
  int64_t error_ns = 0;  // at most so much more or less
};

// Of the sample with the shortest round trip; there must be one. Any number from the guest will do.
ClockOffset OffsetOf(const std::vector<ClockSample>& samples);
// Wrong for sure: by more than what is not known, and more than is tolerated.
bool IsOff(const ClockOffset& offset);
// A clock that was wrong is looked at again soon, but not for ever when that does not help.
std::chrono::seconds NextClockPause(std::chrono::seconds pause, bool was_off, bool is_off);

// To be sent at once.
void AddClock(std::chrono::steady_clock::time_point hello_answered_at, agent::v1::CreateSandboxRequest& request);
// Ends with the connection, or when the guest cannot do it, which is logged. OK.
Co<absl::Status> KeepClock(std::shared_ptr<ttrpc::Connection> connection);

}  // namespace kata::virtcontainers
