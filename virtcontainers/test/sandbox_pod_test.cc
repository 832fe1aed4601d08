// SPDX-License-Identifier: Apache-2.0
// Pods: with a sandbox container, and without one.
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "virtcontainers/sandbox/pod_holder.h"
#include "virtcontainers/test/sandbox_fixture.h"

namespace kata::virtcontainers {
namespace {

class SandboxPodTest : public SandboxFixture {
 protected:
  // The sandbox of a pod without a sandbox container, and a container that joins the pod's namespaces.
  void MakePod(PodSettings pod = {}) {
    pod.sysctls["kernel.shm_rmid_forced"] = "1";
    options_.pod = std::move(pod);
    sandbox_ = MakeVmSandbox(io_.get_executor(), *pool_, options_, machine_);
  }
  void JoinNamespaces() const {
    ASSERT_TRUE(WriteFileAtomically(bundle() + "/config.json",
                                    R"({"process": {"args": ["sh"]}, "root": {"path": "rootfs"}, "linux": {"namespaces":
                                        [{"type": "network"}, {"type": "pid"}, {"type": "ipc", "path": "/proc/4242/ns/ipc"}]}})",
                                    0644)
                    .ok());
  }

 public:
  Co<absl::Status> SandboxContainer() {
    CO_RETURN_IF_ERROR(WriteFileAtomically(bundle() + "/config.json",
                                           R"({"process": {"args": ["/pause"]}, "root": {"path": "/nowhere"},
                                               "mounts": [{"destination": "/dev/shm", "type": "bind",
                                                           "source": "/nowhere", "options": ["rbind"]}],
                                               "linux": {"namespaces": [{"type": "network"}, {"type": "pid"},
                                                                        {"type": "ipc"}]}})",
                                           0644));
    ContainerOptions options = Options("pod");
    options.is_sandbox = true;
    options.rootfs.push_back({"overlay", "overlay", "", {"lowerdir=/nowhere"}});
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    ContainerOptions again = options;
    auto made = co_await sandbox_->CreateContainer(std::move(options));
    if (!made.ok()) co_return made.status();
    EXPECT_TRUE(agent_->created.is_sandbox());
    EXPECT_EQ(agent_->created.spec_json().find("nowhere"), std::string::npos);
    EXPECT_EQ(agent_->created.memory_volumes_size(), 0);
    // The share is mounted by now.
    for (int i = 0; i < 1000 && !IsShared("/ro"); ++i) ::usleep(10000);
    EXPECT_FALSE(IsShared("/ro/pod"));
    CO_RETURN_IF_ERROR(co_await (*made)->Start());
    ExecOptions exec;
    exec.exec_id = "e";
    exec.process_json = "{}";
    absl::Status refused = (*made)->AddExec(std::move(exec)).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(refused));
    EXPECT_EQ(
        refused.message(),
        "adding process \"e\" to container \"pod\": it is the sandbox container, which has no programs; exec into "
        "another container of the pod");
    CO_RETURN_IF_ERROR(co_await (*made)->Kill("", 15, false));
    co_await (*made)->init()->WaitExit();
    CO_RETURN_IF_ERROR(co_await sandbox_->DeleteContainer("pod"));
    auto second = co_await sandbox_->CreateContainer(std::move(again));
    co_return second.status();
  }
  Co<absl::Status> SandboxContainerOfAnOldAgent() {
    agent_->has_sandbox_containers = false;
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    ContainerOptions options = Options("pod");
    options.is_sandbox = true;
    auto made = co_await sandbox_->CreateContainer(std::move(options));
    EXPECT_TRUE(absl::IsFailedPrecondition(made.status())) << made.status();
    EXPECT_EQ(sandbox_->ContainerCount(), 0u);
    co_return absl::OkStatus();
  }
  Co<absl::Status> PodOfItsOwn() {
    absl::StatusOr<agent::v1::StatsContainerResponse> early = co_await sandbox_->Stats();
    EXPECT_TRUE(absl::IsUnavailable(early.status())) << early.status();
    EXPECT_FALSE(sandbox_->Facts().contains("guest_kernel"));
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    EXPECT_EQ(agent_->sandbox.pod().sysctls().at("kernel.shm_rmid_forced"), "1");
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    CO_RETURN_IF_ERROR(made.status());
    auto stats = co_await sandbox_->Stats();
    CO_RETURN_IF_ERROR(stats.status());
    EXPECT_EQ(stats->metrics().pids().current(), 3u);
    const std::map<std::string, std::string> facts = sandbox_->Facts();
    EXPECT_EQ(facts.at("machine_pid"), "4242");
    EXPECT_EQ(facts.at("accelerator"), "tcg");
    EXPECT_EQ(facts.at("started_by"), "boot");
    EXPECT_EQ(facts.at("guest_kernel"), "6.1.0??[2J");
    EXPECT_TRUE(facts.contains("virtiofsd_pid"));
    machine_->Die();
    co_await sandbox_->WaitStopped();
    absl::StatusOr<agent::v1::StatsContainerResponse> late = co_await sandbox_->Stats();
    EXPECT_FALSE(late.ok());
    co_return absl::OkStatus();
  }
  Co<absl::Status> HeldPod() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    EXPECT_TRUE(agent_->sandbox.pod().is_held());
    EXPECT_TRUE(agent_->sandbox.pod().sysctls().empty());
    EXPECT_EQ(agent_->created.container_id(), kPodHolderId);
    EXPECT_TRUE(agent_->created.is_sandbox());
    const auto spec = nlohmann::json::parse(agent_->created.spec_json());
    EXPECT_EQ(spec["linux"]["sysctl"]["kernel.shm_rmid_forced"], "1");
    EXPECT_EQ(spec["linux"]["namespaces"].back()["type"], "user");
    EXPECT_EQ(spec["linux"]["uidMappings"].dump(), R"([{"containerID":0,"hostID":100000,"size":65536}])");
    EXPECT_EQ(sandbox_->ContainerCount(), 0u);
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    CO_RETURN_IF_ERROR(made.status());
    auto taken = co_await sandbox_->CreateContainer(Options(kPodHolderId));
    EXPECT_TRUE(absl::IsInvalidArgument(taken.status())) << taken.status();
    // All that shared its pids has ended with it.
    agent_->exited.Set();
    co_await sandbox_->WaitStopped();
    co_return absl::OkStatus();
  }
  Co<absl::Status> PodOfAnOldAgent() {
    absl::Status started = co_await sandbox_->Start();
    EXPECT_TRUE(absl::IsUnimplemented(started)) << started;
    co_await sandbox_->WaitStopped();
    co_return absl::OkStatus();
  }
  Co<absl::Status> PodOfTheHostsPids() {
    absl::Status started = co_await sandbox_->Start();
    EXPECT_TRUE(absl::IsInvalidArgument(started)) << started;
    EXPECT_NE(started.message().find("pid is NODE (hostPID"), std::string::npos) << started;
    co_return absl::OkStatus();
  }
  Co<absl::Status> FirstContainerNamesANamespace() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    EXPECT_FALSE(agent_->sandbox.has_pod());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    EXPECT_TRUE(absl::IsInvalidArgument(made.status())) << made.status();
    absl::StatusOr<agent::v1::StatsContainerResponse> stats = co_await sandbox_->Stats();
    EXPECT_TRUE(absl::IsUnimplemented(stats.status())) << stats.status();
    co_return absl::OkStatus();
  }
};

TEST_F(SandboxPodTest, ASandboxContainerHasNothingOfTheHost) { Run(SandboxContainer()); }
TEST_F(SandboxPodTest, AnAgentThatIsTooOldMakesNoSandboxContainer) { Run(SandboxContainerOfAnOldAgent()); }
TEST_F(SandboxPodTest, PodHasNamespacesBeforeItsFirstContainer) {
  agent_->has_pod = true;
  MakePod();
  JoinNamespaces();
  Run(PodOfItsOwn());
}
TEST_F(SandboxPodTest, PodWithNamespacesOfItsOwnHasAProcessThatHoldsThem) {
  agent_->has_pod = agent_->has_held_pods = true;
  PodSettings pod;
  pod.shares_pids = true;
  pod.uid_mappings = pod.gid_mappings = {{.container = 0, .host = 100000, .size = 65536}};
  MakePod(std::move(pod));
  JoinNamespaces();
  Run(HeldPod());
}
TEST_F(SandboxPodTest, PodThatSharesPidsNeedsAnAgentThatKnowsOfIt) {
  agent_->has_pod = true;
  PodSettings pod;
  pod.shares_pids = true;
  MakePod(std::move(pod));
  Run(PodOfAnOldAgent());
}
TEST_F(SandboxPodTest, PodNeedsAnAgentThatKnowsOfIt) {
  MakePod();
  Run(PodOfAnOldAgent());
}
TEST_F(SandboxPodTest, PodMayNotHaveTheHostsNamespaces) {
  agent_->has_pod = true;
  PodSettings pod;
  pod.host_namespaces = {"pid"};
  MakePod(std::move(pod));
  Run(PodOfTheHostsPids());
}
TEST_F(SandboxPodTest, NamespacesOfThePodComeWithItsFirstContainer) {
  JoinNamespaces();
  Run(FirstContainerNamesANamespace());
}

}  // namespace
}  // namespace kata::virtcontainers
