// SPDX-License-Identifier: Apache-2.0
// The guest's clock as the host keeps it, against a guest whose clock is a number.
#include "virtcontainers/sandbox/guest_clock.h"

#include <sys/socket.h>
#include <time.h>

#include <limits>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include "proto/base/fd.h"

namespace kata::virtcontainers {
namespace {

using std::chrono::seconds;

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kHost = 1'700'000'000'000 * kMs;
constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
constexpr seconds kWatchdog{60};
// For what comes at once, if it comes.
constexpr std::chrono::milliseconds kMoment{200};

int64_t Now() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1000 * kMs + now.tv_nsec;
}

TEST(OffsetOf, TakesTheMiddleOfTheShortestRoundTrip) {
  const ClockOffset offset = OffsetOf({{kHost + 90 * kMs, kHost, 40 * kMs},
                                       {kHost + 7 * kMs, kHost + 2 * kMs, 4 * kMs},
                                       {kHost - 90 * kMs, kHost, 5 * kMs}});

  EXPECT_EQ(offset.ahead_ns, 7 * kMs);
  EXPECT_EQ(offset.error_ns, 2 * kMs);
}

TEST(OffsetOf, StandsEveryNumberOfAGuest) {
  for (int64_t guest : {kLeast, kMost, int64_t{0}, int64_t{-1}}) {
    for (int64_t round_trip : {int64_t{0}, 3 * kMs}) {
      const ClockOffset offset = OffsetOf({{guest, kHost, round_trip}});

      EXPECT_TRUE(IsOff(offset));
      EXPECT_NE(-offset.ahead_ns, offset.ahead_ns);  // it can be turned round
    }
  }
}

TEST(IsOff, LeavesWhatMayBeRight) {
  EXPECT_FALSE(IsOff({.ahead_ns = kMs, .error_ns = 0}));
  EXPECT_TRUE(IsOff({.ahead_ns = kMs + 1, .error_ns = 0}));
  EXPECT_TRUE(IsOff({.ahead_ns = -2 * kMs, .error_ns = kMs}));
  EXPECT_FALSE(IsOff({.ahead_ns = -9 * kMs, .error_ns = 10 * kMs}));
}

TEST(NextClockPause, GrowsWhileTheClockIsRight) {
  seconds pause = kClockPauseMin;
  for (int i = 0; i < 10; ++i) pause = NextClockPause(pause, false, false);

  EXPECT_EQ(pause, kClockPauseMax);
  EXPECT_EQ(NextClockPause(pause, false, true), kClockPauseMin);
}

TEST(NextClockPause, GrowsWhereCorrectionsDoNotHelp) {
  seconds pause = NextClockPause(kClockPauseMax, false, true);
  for (int i = 0; i < 10; ++i) pause = NextClockPause(pause, true, true);

  EXPECT_EQ(pause, kClockPauseMax);
}

TEST(AddClock, SaysSinceWhenTheHostKnows) {
  agent::v1::CreateSandboxRequest request;
  const int64_t before = Now();
  AddClock(std::chrono::steady_clock::now() - seconds(3), request);

  EXPECT_GE(request.hello_age_ns(), 3000 * kMs);
  EXPECT_LT(request.hello_age_ns(), 60'000 * kMs);
  EXPECT_GE(request.clock_realtime_ns(), before);
  EXPECT_LE(request.clock_realtime_ns(), Now());
}

class KeepClockTest : public testing::Test {
 public:
  KeepClockTest() : enough_(io_.get_executor()), is_over_(io_.get_executor()) {
    services_.AddUnary("kata.agent.v1.Agent", "SyncClock",
                       [this](ttrpc::CallContext, std::string payload) { return SyncClock(this, std::move(payload)); });
  }

 protected:
  // Until so many corrections and then so many calls have come and a moment has passed; then the host hangs up.
  void Run(int corrections, int calls) {
    corrections_wanted_ = corrections;
    calls_wanted_ = calls;
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    const auto executor = io_.get_executor();
    auto guest = ttrpc::Connection::Start(executor, ttrpc::MakeFdTransport(executor, UniqueFd(ends[1])), &services_);
    auto host = ttrpc::Connection::Start(executor, ttrpc::MakeFdTransport(executor, UniqueFd(ends[0])), nullptr);
    Spawn(executor, "keeping the clock", Keep(this, host));
    Spawn(executor, "hanging up", HangUp(this, host, guest));
    io_.run_for(kWatchdog);
    EXPECT_TRUE(io_.stopped()) << "it does not end with the connection";
    EXPECT_TRUE(has_ended_);
  }
  static Co<absl::Status> Keep(KeepClockTest* test, std::shared_ptr<ttrpc::Connection> host) {
    absl::Status status = co_await KeepClock(host);
    EXPECT_TRUE(status.ok()) << status;
    test->has_ended_ = true;
    test->ended_by_itself_ = !host->is_closed();
    co_return status;
  }
  static Co<absl::Status> HangUp(KeepClockTest* test, std::shared_ptr<ttrpc::Connection> host,
                                 std::shared_ptr<ttrpc::Connection> guest) {
    co_await test->enough_.Wait();
    co_await Sleep(kMoment);
    host->Close(absl::CancelledError("done"));
    test->is_over_.Set();
    [[maybe_unused]] const absl::Status reason = co_await guest->WaitClosed();
    co_return absl::OkStatus();
  }
  static Co<absl::StatusOr<std::string>> SyncClock(KeepClockTest* test, std::string payload) {
    agent::v1::SyncClockRequest request;
    EXPECT_TRUE(request.ParseFromString(payload));
    ++test->calls_;
    if (test->corrections_ >= test->corrections_wanted_ && --test->calls_wanted_ <= 0) test->enough_.Set();
    if (test->is_silent_) co_await test->is_over_.Wait();
    if (!test->status_.ok()) co_return test->status_;
    if (request.correction_ns() != 0) {
      const auto now = std::chrono::steady_clock::now();
      if (++test->corrections_ > 1) test->between_corrections_ = now - test->corrected_at_;
      test->corrected_at_ = now;
      test->calls_at_correction_ = test->calls_;
      // A lie of any size is answered by a correction of its size.
      if (test->lie_ns_ == 0) test->ahead_ns_ += request.correction_ns();
      if (test->corrections_ >= test->corrections_wanted_ && test->calls_wanted_ == 0) test->enough_.Set();
    }
    agent::v1::SyncClockResponse response;
    response.set_clock_realtime_ns(test->lie_ns_ != 0 ? test->lie_ns_ : Now() + test->ahead_ns_);
    co_return response.SerializeAsString();
  }

  asio::io_context io_;
  ttrpc::ServiceMap services_;
  int64_t ahead_ns_ = 0;
  int64_t lie_ns_ = 0;
  bool is_silent_ = false;
  absl::Status status_;
  int corrections_wanted_ = 0;
  int calls_wanted_ = 0;
  int calls_ = 0;
  int corrections_ = 0;
  int calls_at_correction_ = 0;
  std::chrono::steady_clock::time_point corrected_at_;
  std::chrono::nanoseconds between_corrections_{0};
  bool has_ended_ = false;
  bool ended_by_itself_ = false;
  Latch enough_;
  Latch is_over_;
};

TEST_F(KeepClockTest, ClockThatIsAheadIsSetRightAndLookedAtAgain) {
  ahead_ns_ = 3'600'000 * kMs;
  Run(1, 1);

  EXPECT_LT(std::abs(ahead_ns_), 1000 * kMs);
}

TEST_F(KeepClockTest, ClockThatIsBehindIsSetRight) {
  ahead_ns_ = -60'000 * kMs;
  Run(1, 0);

  EXPECT_LT(std::abs(ahead_ns_), 1000 * kMs);
}

TEST_F(KeepClockTest, ClockThatIsRightIsLeft) {
  Run(0, 1);

  EXPECT_EQ(corrections_, 0);
}

TEST_F(KeepClockTest, GuestThatLiesIsAskedNoMoreThanAnother) {
  lie_ns_ = kMost;
  Run(2, 0);

  EXPECT_LE(calls_at_correction_, 2 * (static_cast<int>(kClockSamplesMax) + 1));
  EXPECT_GT(between_corrections_, kClockPauseMin / 2);
}

TEST_F(KeepClockTest, GuestThatDoesNotAnswerHasOneQuestionAndHoldsUpNoEnd) {
  is_silent_ = true;
  Run(0, 1);

  EXPECT_EQ(calls_, 1);
}

TEST_F(KeepClockTest, GuestThatCannotIsLeftAlone) {
  status_ = absl::InternalError("correcting the clock: operation not permitted");
  Run(0, 1);

  EXPECT_TRUE(ended_by_itself_);
  EXPECT_EQ(calls_, 1);
}

}  // namespace
}  // namespace kata::virtcontainers
