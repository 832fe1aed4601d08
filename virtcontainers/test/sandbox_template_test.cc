// SPDX-License-Identifier: Apache-2.0
// Whether a sandbox's machine goes on from a template, and what is said to a clone's guest.
#include <fstream>

#include "virtcontainers/sandbox/machine_spec.h"
#include "virtcontainers/sandbox/sandbox_template.h"
#include "virtcontainers/template/template_store.h"
#include "virtcontainers/test/sandbox_fixture.h"

namespace kata::virtcontainers {
namespace {

class SandboxTemplateTest : public SandboxFixture {
 protected:
  Co<absl::Status> StartOnly() {
    absl::Status started = co_await sandbox_->Start();
    facts_ = sandbox_->Facts();
    co_return started;
  }

  Co<absl::Status> StopWhileItsAgentIsAsked() {
    agent_->is_silent = true;
    Spawn(io_.get_executor(), "starting", sandbox_->Start());
    while (machine_->spec().name.empty()) co_await Sleep(std::chrono::milliseconds(5));
    co_await Sleep(std::chrono::milliseconds(50));
    co_return co_await sandbox_->Stop();
  }

  void UseATemplate() {
    Config& config = options_.config;
    config.enable_template = true;
    config.template_path = directory_.path() + "/templates";
    config.accelerator = hypervisors::Accelerator::kTcg;
    config.path = directory_.path() + "/qemu-system-x86_64";
    config.kernel = config.initrd = config.path;
    config.firmware.clear();
    std::ofstream(config.path) << "an emulator";
    const auto shape = hypervisors::ShapeOf(MakeMachineSpec(options_, *MakeBootToken()));
    ASSERT_TRUE(shape.ok()) << shape.status();
    key_ = TemplateStore::KeyOf(*shape);
    store_ = std::make_unique<TemplateStore>(config.template_path);
    ASSERT_TRUE(store_->Lock(key_).ok());
    ASSERT_TRUE(store_->Begin(key_).ok());
    ASSERT_TRUE(store_->Publish(key_).ok());
    sandbox_ = MakeVmSandbox(io_.get_executor(), *pool_, options_, machine_);
  }

  std::unique_ptr<TemplateStore> store_;
  std::string key_;
  std::map<std::string, std::string> facts_;  // right after the start
};

TEST_F(SandboxTemplateTest, AClonesGuestIsMadeItsOwnBeforeAnythingElse) {
  machine_->is_clone = true;
  Run(StartOnly());
  ASSERT_EQ(agent_->rekeyed.size(), 1u);
  EXPECT_TRUE(agent_->is_rekeyed_first);
  EXPECT_EQ(agent_->rekeyed[0].entropy().size(), 64u);
  EXPECT_TRUE(agent_->rekeyed[0].find_devices());
  EXPECT_EQ(facts_.at("started_by"), "template");
}
TEST_F(SandboxTemplateTest, AGuestThatHasBootedIsItsOwn) {
  Run(StartOnly());
  EXPECT_TRUE(agent_->rekeyed.empty());
}
TEST_F(SandboxTemplateTest, ATemplateIsTakenWhereThereIsOne) {
  UseATemplate();
  machine_->is_clone = true;
  Run(StartOnly());
  EXPECT_EQ(machine_->spec().saved_state, store_->DirectoryOf(key_));
  EXPECT_TRUE(std::filesystem::exists(store_->DirectoryOf(key_)));
}
TEST_F(SandboxTemplateTest, ATemplateThatDidNotServeGoes) {
  UseATemplate();
  Run(StartOnly());
  pool_->join();
  EXPECT_EQ(machine_->spec().saved_state, store_->DirectoryOf(key_));
  EXPECT_FALSE(std::filesystem::exists(store_->DirectoryOf(key_)));
}

TEST_F(SandboxTemplateTest, AStopMeanwhileIsNoFaultOfTheTemplate) {
  UseATemplate();
  machine_->is_clone = true;
  Run(StopWhileItsAgentIsAsked());
  pool_->join();
  EXPECT_TRUE(std::filesystem::exists(store_->DirectoryOf(key_)));
}

TEST_F(SandboxTemplateTest, AMissingBuilderIsNoFaultOfThePod) {
  UseATemplate();
  ASSERT_TRUE(store_->Remove(key_).ok());
  Run(StartOnly());
  EXPECT_TRUE(machine_->spec().saved_state.empty());
}

TEST(CanBeCloneTest, ASerialPortAndVirtioFsAreNeeded) {
  Config config;
  config.enable_template = true;
  EXPECT_TRUE(CanBeClone(config));
  config.agent_transport = AgentTransport::kVsock;
  EXPECT_FALSE(CanBeClone(config));
  config.agent_transport = AgentTransport::kVirtioSerial;
  EXPECT_TRUE(CanBeClone(config));
  config.shared_fs = SharedFs::k9p;
  EXPECT_FALSE(CanBeClone(config));
  config.shared_fs = SharedFs::kVirtioFs;
  config.enable_template = false;
  EXPECT_FALSE(CanBeClone(config));
}

}  // namespace
}  // namespace kata::virtcontainers
