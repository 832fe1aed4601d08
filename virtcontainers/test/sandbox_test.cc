// SPDX-License-Identifier: Apache-2.0
// The life of a sandbox, its containers and processes, against a fake machine whose agent answers in this process.
#include <signal.h>

#include "virtcontainers/test/sandbox_fixture.h"

namespace kata::virtcontainers {
namespace {

class SandboxTest : public SandboxFixture {
 public:
  Co<absl::Status> Life() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    EXPECT_EQ(agent_->token_size, 32u);
    EXPECT_EQ(machine_->spec().guest_words.at(kTokenWord).size(), 64u);
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    if (!made.ok()) co_return made.status();
    std::shared_ptr<Container> container = *made;
    // Its process may not have entered the namespace yet.
    for (int i = 0; i < 1000 && !IsShared("/ro/c1/rootfs"); ++i) ::usleep(10000);
    EXPECT_TRUE(IsShared("/ro/c1/rootfs"));
    EXPECT_TRUE(std::filesystem::is_empty(SharedDirectory("box")));
    auto again = co_await sandbox_->CreateContainer(Options("c1"));
    EXPECT_TRUE(absl::IsAlreadyExists(again.status()));
    auto bad = co_await sandbox_->CreateContainer(Options("../x"));
    EXPECT_TRUE(absl::IsInvalidArgument(bad.status()));
    CO_RETURN_IF_ERROR(co_await container->Start());
    EXPECT_EQ(container->init()->state(), ProcessState::kRunning);
    absl::Status twice = co_await container->Start();
    EXPECT_TRUE(absl::IsFailedPrecondition(twice));
    absl::Status early = co_await sandbox_->DeleteContainer("c1");
    EXPECT_TRUE(absl::IsFailedPrecondition(early));
    ExecOptions exec;
    exec.exec_id = "e";
    exec.process_json = "{}";
    auto added = container->AddExec(exec);
    EXPECT_TRUE(added.ok());
    EXPECT_TRUE(absl::IsAlreadyExists(container->AddExec(exec).status()));
    absl::Status unstarted = co_await container->Kill("e", 9, false);
    EXPECT_TRUE(absl::IsFailedPrecondition(unstarted));
    absl::Status not_found = co_await container->StartExec("e");
    EXPECT_TRUE(absl::IsNotFound(not_found));
    EXPECT_EQ((*added)->exit()->status, 255u);
    CO_RETURN_IF_ERROR(co_await container->DeleteExec("e"));
    auto never_started = container->AddExec(exec);
    EXPECT_TRUE(never_started.ok());
    CO_RETURN_IF_ERROR(co_await container->DeleteExec("e"));
    EXPECT_EQ((*never_started)->exit()->status, 0u);
    CO_RETURN_IF_ERROR(co_await container->Kill("", 15, false));
    ExitStatus exit = co_await container->init()->WaitExit();
    EXPECT_EQ(exit.status, 7u);
    absl::Status late = co_await container->Kill("", 15, false);
    EXPECT_EQ(late.message(), "process already finished");
    CO_RETURN_IF_ERROR(co_await sandbox_->DeleteContainer("c1"));
    EXPECT_EQ(sandbox_->ContainerCount(), 0u);
    EXPECT_EQ(agent_->removed_containers, 1);
    EXPECT_FALSE(IsShared("/rw/c1"));
    co_return absl::OkStatus();
  }
  static Co<absl::Status> StartExec(std::shared_ptr<Container> container, std::shared_ptr<Latch> started) {
    absl::Status status = co_await container->StartExec("e");
    started->Set();
    co_return status;
  }
  Co<absl::Status> ResizeWhileAnExecStarts() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    if (!made.ok()) co_return made.status();
    std::shared_ptr<Container> container = *made;
    CO_RETURN_IF_ERROR(co_await container->Start());
    ExecOptions exec;
    exec.exec_id = "e";
    exec.process_json = R"({"args": ["sh"]})";
    exec.terminal = true;
    auto added = container->AddExec(exec);
    if (!added.ok()) co_return added.status();
    CO_RETURN_IF_ERROR(co_await container->ResizeTerminal("e", 80, 24));
    agent_->exec_gate = std::make_shared<Latch>(io_.get_executor());
    auto started = std::make_shared<Latch>(io_.get_executor());
    Spawn(io_.get_executor(), "starting an exec", StartExec(container, started));
    co_await Sleep(std::chrono::milliseconds(20));
    absl::Status again = co_await container->StartExec("e");
    EXPECT_TRUE(absl::IsFailedPrecondition(again)) << again;
    CO_RETURN_IF_ERROR(co_await container->ResizeTerminal("e", 100, 24));
    EXPECT_TRUE(agent_->sizes.empty());
    agent_->exec_gate->Set();
    co_await started->Wait();
    EXPECT_EQ(agent_->sizes, std::vector<std::string>(1, "100x24"));
    EXPECT_EQ((*added)->state(), ProcessState::kRunning);
    co_return absl::OkStatus();
  }
  Co<absl::Status> Resources() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    if (!made.ok()) co_return made.status();
    std::shared_ptr<Container> container = *made;
    absl::Status early = co_await container->Pause();
    EXPECT_TRUE(absl::IsFailedPrecondition(early)) << early;
    CO_RETURN_IF_ERROR(co_await container->Start());
    agent_->pause_status = absl::InternalError("frozen stiff");
    absl::Status failed = co_await container->Pause();
    EXPECT_EQ(failed.message(), "pausing container \"c1\": frozen stiff");
    EXPECT_FALSE(container->is_paused());
    agent_->pause_status = absl::OkStatus();
    CO_RETURN_IF_ERROR(co_await container->Pause());
    EXPECT_TRUE(container->is_paused());
    absl::Status twice = co_await container->Pause();
    EXPECT_TRUE(absl::IsFailedPrecondition(twice)) << twice;
    ExecOptions exec;
    exec.exec_id = "e";
    exec.process_json = "{}";
    EXPECT_TRUE(absl::IsFailedPrecondition(container->AddExec(exec).status()));
    CO_RETURN_IF_ERROR(co_await container->Resume());
    EXPECT_FALSE(container->is_paused());
    absl::Status running = co_await container->Resume();
    EXPECT_TRUE(absl::IsFailedPrecondition(running)) << running;
    std::string resources = "{\"cpu\":{}}";
    absl::Status updated = co_await container->Update(resources);
    EXPECT_TRUE(updated.ok()) << updated;
    EXPECT_EQ(agent_->updated, resources);
    auto stats = co_await container->Stats();
    if (!stats.ok()) co_return stats.status();
    EXPECT_EQ(stats->metrics().pids().current(), 3u);
    agent_->interfaces = 1000;
    auto flood = co_await container->Stats();
    EXPECT_TRUE(absl::IsResourceExhausted(flood.status())) << flood.status();
    CO_RETURN_IF_ERROR(co_await container->Kill("", 9, false));
    co_await container->init()->WaitExit();
    auto late = co_await container->Stats();
    EXPECT_TRUE(absl::IsNotFound(late.status())) << late.status();
    absl::Status gone = co_await container->Update(resources);
    EXPECT_TRUE(absl::IsFailedPrecondition(gone)) << gone;
    co_return absl::OkStatus();
  }
  Co<absl::Status> OutOfMemory() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    if (!made.ok()) co_return made.status();
    std::shared_ptr<Container> container = *made;
    Latch told(co_await asio::this_coro::executor);
    int kills = 0;
    container->OnOom([&] {
      ++kills;
      told.Set();
      // Whoever counts the exit as one for want of memory must know of it before.
      EXPECT_EQ(container->init()->state() == ProcessState::kStopped, false);
    });
    CO_RETURN_IF_ERROR(co_await container->Start());
    agent_->oom.Set();
    co_await told.Wait();
    EXPECT_EQ(kills, 1);
    agent_->oom_kills_at_exit = 2;
    agent_->exited.Set();
    co_await container->init()->WaitExit();
    EXPECT_EQ(kills, 2);
    container->OnOom(nullptr);
    co_return absl::OkStatus();
  }
  Co<absl::Status> ClockIsWrong() {
    agent_->has_clock = true;
    agent_->clock_ahead_ns = -3'600'000'000'000;
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    EXPECT_GT(agent_->hello_age_ns, 0);
    co_await agent_->clock_corrected.Wait();
    EXPECT_LT(std::abs(agent_->clock_ahead_ns), 1'000'000'000);
    co_return absl::OkStatus();
  }
  Co<absl::Status> ClockCannotBeAsked() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    if (!made.ok()) co_return made.status();
    EXPECT_FALSE(agent_->clock_asked.is_set());
    co_return absl::OkStatus();
  }
};

TEST_F(SandboxTest, LifeOfAContainer) { Run(Life()); }
TEST_F(SandboxTest, SizeOfATerminalIsRememberedWhileTheExecStarts) { Run(ResizeWhileAnExecStarts()); }
TEST_F(SandboxTest, FreezerLimitsAndStatisticsAskTheAgent) { Run(Resources()); }
TEST_F(SandboxTest, OomKillsAreToldOnceEachAndBeforeTheExit) { Run(OutOfMemory()); }
TEST_F(SandboxTest, ClockOfTheGuestIsSetRight) { Run(ClockIsWrong()); }
TEST_F(SandboxTest, AgentWithoutAClockCallIsNotAsked) { Run(ClockCannotBeAsked()); }

}  // namespace
}  // namespace kata::virtcontainers
