// SPDX-License-Identifier: Apache-2.0
// What becomes of containers and their callers when the machine, virtiofsd or the agent fails.
#include <signal.h>

#include "virtcontainers/test/sandbox_fixture.h"

namespace kata::virtcontainers {
namespace {

class SandboxFaultsTest : public SandboxFixture {
 public:
  // What the guest makes when nobody waits any more is removed there.
  Co<absl::Status> CreateThatComesTooLate() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    agent_->create_gate = std::make_shared<Latch>(io_.get_executor());
    auto late = co_await sandbox_->CreateContainer(Options("late"));
    EXPECT_TRUE(absl::IsDeadlineExceeded(late.status())) << late.status();
    EXPECT_FALSE(IsShared("/rw/late"));
    EXPECT_EQ(agent_->removed_containers, 0);
    agent_->create_gate->Set();
    for (int i = 0; i < 500; ++i) {
      if (agent_->removed_containers > 0) break;
      co_await Sleep(std::chrono::milliseconds(10));
    }
    EXPECT_EQ(agent_->removed_containers, 1);
    agent_->create_gate = nullptr;
    auto again = co_await sandbox_->CreateContainer(Options("late"));
    co_return again.status();
  }
  Co<absl::Status> MachineDies() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    if (!made.ok()) co_return made.status();
    std::shared_ptr<Container> container = *made;
    CO_RETURN_IF_ERROR(co_await container->Start());
    machine_->Die();
    ExitStatus exit = co_await container->init()->WaitExit();
    EXPECT_EQ(exit.status, 137u);
    EXPECT_EQ(sandbox_->VmPid(), 0);
    co_return co_await sandbox_->DeleteContainer("c1");
  }
  Co<absl::Status> VirtiofsdDies() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    if (!made.ok()) co_return made.status();
    std::shared_ptr<Container> container = *made;
    CO_RETURN_IF_ERROR(co_await container->Start());
    auto pid = ReadFile(RuntimeDirectory("box") + "/virtiofsd.pid", 64);
    if (!pid.ok()) co_return pid.status();
    EXPECT_EQ(::kill(std::stoi(*pid), SIGKILL), 0);
    ExitStatus exit = co_await container->init()->WaitExit();
    EXPECT_EQ(exit.status, 137u);
    co_return absl::OkStatus();
  }
  Co<absl::Status> KillOfALostGuest() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    if (!made.ok()) co_return made.status();
    std::shared_ptr<Container> container = *made;
    CO_RETURN_IF_ERROR(co_await container->Start());
    agent_->signal_status = absl::DeadlineExceededError("no answer");
    absl::Status term = co_await container->Kill("", SIGTERM, false);
    EXPECT_TRUE(absl::IsDeadlineExceeded(term)) << term;
    EXPECT_EQ(container->init()->state(), ProcessState::kRunning);
    absl::Status killed = co_await container->Kill("", SIGKILL, true);
    EXPECT_TRUE(killed.ok()) << killed;
    ExitStatus exit = co_await container->init()->WaitExit();
    EXPECT_EQ(exit.status, 137u);
    co_return absl::OkStatus();
  }
  Co<absl::Status> UnkillableAmongOthers() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    agent_->unkillable = "stuck";
    auto made = co_await sandbox_->CreateContainer(Options("stuck"));
    if (!made.ok()) co_return made.status();
    auto other = co_await sandbox_->CreateContainer(Options("other"));
    if (!other.ok()) co_return other.status();
    std::shared_ptr<Container> stuck = *made;
    std::shared_ptr<Container> neighbour = *other;
    CO_RETURN_IF_ERROR(co_await stuck->Start());
    CO_RETURN_IF_ERROR(co_await neighbour->Start());
    ExecOptions exec;
    exec.exec_id = "e";
    exec.process_json = "{}";
    auto added = stuck->AddExec(exec);
    EXPECT_TRUE(added.ok());
    CO_RETURN_IF_ERROR(co_await stuck->Kill("", SIGKILL, true));
    ExitStatus exit = co_await stuck->init()->WaitExit();
    EXPECT_EQ(exit.status, 137u);
    EXPECT_EQ((*added)->exit()->status, 137u);
    EXPECT_EQ(neighbour->init()->state(), ProcessState::kRunning);
    EXPECT_NE(sandbox_->VmPid(), 0);
    // Deletable although the guest does not answer, and its name can be used again.
    CO_RETURN_IF_ERROR(co_await sandbox_->DeleteContainer("stuck"));
    EXPECT_EQ(sandbox_->ContainerCount(), 1u);
    EXPECT_EQ(neighbour->init()->state(), ProcessState::kRunning);
    agent_->unkillable.clear();
    auto again = co_await sandbox_->CreateContainer(Options("stuck"));
    EXPECT_TRUE(again.ok()) << again.status();
    co_return absl::OkStatus();
  }
  Co<absl::Status> UnkillableAlone() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    agent_->unkillable = "stuck";
    auto other = co_await sandbox_->CreateContainer(Options("other"));
    if (!other.ok()) co_return other.status();
    std::shared_ptr<Container> neighbour = *other;
    CO_RETURN_IF_ERROR(co_await neighbour->Start());
    CO_RETURN_IF_ERROR(co_await neighbour->Kill("", SIGKILL, true));
    co_await neighbour->init()->WaitExit();
    auto made = co_await sandbox_->CreateContainer(Options("stuck"));
    if (!made.ok()) co_return made.status();
    std::shared_ptr<Container> stuck = *made;
    CO_RETURN_IF_ERROR(co_await stuck->Start());
    // The other one is still known, but has ended: nobody else pays.
    CO_RETURN_IF_ERROR(co_await stuck->Kill("", SIGKILL, true));
    ExitStatus exit = co_await stuck->init()->WaitExit();
    EXPECT_EQ(exit.status, 137u);
    EXPECT_EQ(sandbox_->VmPid(), 0);
    co_return absl::OkStatus();
  }
  Co<absl::Status> CreateFails() {
    agent_->create_status = absl::NotFoundError("exec: \"nope\": executable file not found in $PATH");
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    EXPECT_EQ(made.status(), agent_->create_status);
    EXPECT_FALSE(IsShared("/rw/c1"));
    EXPECT_EQ(sandbox_->ContainerCount(), 0u);
    co_return absl::OkStatus();
  }
  Co<absl::Status> AgentIsSilent() {
    agent_->is_silent = true;
    absl::Status status = co_await sandbox_->Start();
    EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
    EXPECT_NE(status.message().find("Kernel panic | no init"), absl::string_view::npos) << status;
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    EXPECT_EQ(made.status(), status);
    co_return absl::OkStatus();
  }
};

TEST_F(SandboxFaultsTest, ProcessesEndWith137WhenTheMachineDies) { Run(MachineDies()); }
TEST_F(SandboxFaultsTest, ContainerThatTheGuestMakesTooLateIsRemovedThere) { Run(CreateThatComesTooLate()); }
TEST_F(SandboxFaultsTest, MachineEndsWithItsVirtiofsd) { Run(VirtiofsdDies()); }
TEST_F(SandboxFaultsTest, SigkillEndsTheMachineOfAGuestThatDoesNotAnswer) { Run(KillOfALostGuest()); }
TEST_F(SandboxFaultsTest, AContainerThatCannotBeKilledIsGivenUpAlone) { Run(UnkillableAmongOthers()); }
TEST_F(SandboxFaultsTest, AContainerThatCannotBeKilledEndsAMachineOfItsOwn) { Run(UnkillableAlone()); }
TEST_F(SandboxFaultsTest, FailedCreateIsUndone) { Run(CreateFails()); }
TEST_F(SandboxFaultsTest, SilentAgentEndsTheStartWithTheConsole) { Run(AgentIsSilent()); }

}  // namespace
}  // namespace kata::virtcontainers
