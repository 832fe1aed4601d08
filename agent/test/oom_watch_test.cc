// SPDX-License-Identifier: Apache-2.0
// OOM watch and freezer against plain files: a write to them gives the event that cgroupfs gives.
#include "agent/cgroup/oom_watch.h"

#include <gtest/gtest.h>

#include "agent/cgroup/freezer.h"
#include "agent/test/control_files.h"

namespace kata::agent {
namespace {

constexpr std::chrono::milliseconds kShort{30};

Co<void> AwaitKills(std::shared_ptr<OomWatch> watch, uint64_t seen, absl::StatusOr<uint64_t>* out) {
  *out = co_await watch->Wait(seen);
}

Co<absl::Status> WriteSoon(const ControlFiles* files, std::string file, std::string text) {
  co_await Sleep(kShort);
  files->Write(file, text);
  co_return absl::OkStatus();
}

Co<absl::Status> CloseSoon(std::shared_ptr<OomWatch> watch) {
  co_await Sleep(kShort);
  watch->Close();
  co_return absl::OkStatus();
}

Co<void> AwaitFrozen(FileWatcher* watcher, FreezeTarget target, absl::Status* out) {
  *out = co_await SetFrozen(watcher, std::move(target));
}

class Watch : public testing::Test {
 protected:
  ControlFiles files_;
  asio::io_context context_{1};
  FileWatcher watcher_{context_.get_executor()};
};

TEST_F(Watch, AnswersAtOnceWhenThereAreMoreKillsThanSeen) {
  files_.Write("memory.events", "oom 3\noom_kill 2\n");
  auto watch = std::make_shared<OomWatch>(&watcher_, files_.path());
  absl::StatusOr<uint64_t> kills;

  RunCo(context_, AwaitKills(watch, 1, &kills));

  ASSERT_TRUE(kills.ok());
  EXPECT_EQ(*kills, 2u);
}

TEST_F(Watch, AnswersEveryWaiterAtTheNextKill) {
  files_.Write("memory.events", "oom 0\noom_kill 0\n");
  auto watch = std::make_shared<OomWatch>(&watcher_, files_.path());
  absl::StatusOr<uint64_t> first;
  absl::StatusOr<uint64_t> second;
  asio::co_spawn(context_, AwaitKills(watch, 0, &first), [](std::exception_ptr) {});
  Spawn(context_.get_executor(), "write", WriteSoon(&files_, "memory.events", "oom 1\noom_kill 1\n"));

  RunCo(context_, AwaitKills(watch, 0, &second));
  context_.run_for(kShort);

  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(*first, 1u);
  EXPECT_EQ(*second, 1u);
}

TEST_F(Watch, ReleasesTheWaitersOfARemovedContainer) {
  files_.Write("memory.events", "oom_kill 4\n");
  auto watch = std::make_shared<OomWatch>(&watcher_, files_.path());
  absl::StatusOr<uint64_t> kills;
  Spawn(context_.get_executor(), "close", CloseSoon(watch));

  RunCo(context_, AwaitKills(watch, 4, &kills));

  EXPECT_TRUE(absl::IsNotFound(kills.status()));
}

TEST_F(Watch, KeepsTheCountOfACgroupThatIsGone) {
  files_.Write("memory.events", "oom_kill 4\n");
  OomWatch watch(&watcher_, files_.path());
  EXPECT_EQ(watch.Kills(), 4u);

  std::filesystem::remove(files_.path() + "/memory.events");

  EXPECT_EQ(watch.Kills(), 4u);
}

TEST_F(Watch, PollsAFileThatCannotBeWatched) {
  auto watch = std::make_shared<OomWatch>(&watcher_, files_.path());
  absl::StatusOr<uint64_t> kills;
  Spawn(context_.get_executor(), "write", WriteSoon(&files_, "memory.events", "oom_kill 1\n"));

  RunCo(context_, AwaitKills(watch, 0, &kills));

  ASSERT_TRUE(kills.ok());
  EXPECT_EQ(*kills, 1u);
}

TEST_F(Watch, AFreezeEndsWhenTheKernelSaysSo) {
  files_.Write("cgroup.freeze", "0");
  files_.Write("cgroup.events", "populated 1\nfrozen 0\n");
  Spawn(context_.get_executor(), "write", WriteSoon(&files_, "cgroup.events", "populated 1\nfrozen 1\n"));
  absl::Status status;

  RunCo(context_, AwaitFrozen(&watcher_, {.cgroup = files_.path(), .is_frozen = true}, &status));

  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(files_.Read("cgroup.freeze"), "1");
}

TEST_F(Watch, AFreezeThatDoesNotEndIsTakenBack) {
  files_.Write("cgroup.freeze", "0");
  files_.Write("cgroup.events", "populated 1\nfrozen 0\n");
  absl::Status status;
  FreezeTarget target{.cgroup = files_.path(), .is_frozen = true, .timeout = kShort};

  RunCo(context_, AwaitFrozen(&watcher_, target, &status));

  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_EQ(files_.Read("cgroup.freeze"), "0");
}

TEST_F(Watch, AThawThatDoesNotEndIsAnError) {
  files_.Write("cgroup.freeze", "1");
  files_.Write("cgroup.events", "populated 1\nfrozen 1\n");
  absl::Status status;
  FreezeTarget target{.cgroup = files_.path(), .is_frozen = false, .timeout = kShort};

  RunCo(context_, AwaitFrozen(&watcher_, target, &status));

  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
}

}  // namespace
}  // namespace kata::agent
