// SPDX-License-Identifier: Apache-2.0
// Mounts of the host's sockets, from a container's document to what the agent is asked for.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <nlohmann/json.hpp>

#include "virtcontainers/test/sandbox_fixture.h"

namespace kata::virtcontainers {
namespace {

class SandboxSocketsTest : public SandboxFixture {
 protected:
  void SetUp() override {
    SandboxFixture::SetUp();
    if (IsSkipped()) return;
    agent_->has_host_sockets = true;
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(::listen(listener_.get(), 8), 0);
    ASSERT_EQ(::chmod(path().c_str(), 0640), 0);
  }
  std::string path() const { return directory_.path() + "/s"; }
  void List(const std::string& pattern) {
    options_.config.shared_sockets = {pattern};
    options_.config.file = "/etc/c.toml";
    sandbox_ = MakeVmSandbox(io_.get_executor(), *pool_, options_, machine_);
  }
  void Mount(const std::string& more = "") { WriteMount(path(), R"("rbind", "ro")", more); }
  static Co<absl::Status> Create(SandboxSocketsTest* test) {
    CO_RETURN_IF_ERROR(co_await test->sandbox_->Start());
    ContainerOptions options = test->Options("c1");
    auto made = co_await test->sandbox_->CreateContainer(std::move(options));
    test->made_ = made.status();
    if (!made.ok()) co_return absl::OkStatus();
    std::shared_ptr<Container> container = *made;
    CO_RETURN_IF_ERROR(co_await container->Kill("", 15, false));
    co_await container->init()->WaitExit();
    co_return co_await test->sandbox_->DeleteContainer("c1");
  }

  UniqueFd listener_;
  absl::Status made_;
};

TEST_F(SandboxSocketsTest, AListedOneIsTheAgentsToMake) {
  List(path());
  Mount();
  Run(Create(this));
  ASSERT_TRUE(made_.ok()) << made_;
  ASSERT_EQ(agent_->created.sockets_size(), 2);
  EXPECT_EQ(agent_->created.sockets(1).mode(), 0640u);
  EXPECT_EQ(agent_->created.sockets(1).uid(), ::geteuid());
  const auto mounts = nlohmann::json::parse(agent_->created.spec_json())["mounts"];
  EXPECT_EQ(mounts[0]["source"], "/run/kata-containers/sockets/c1/0");
  EXPECT_EQ(mounts[1]["source"], "/run/kata-containers/sockets/c1/1");
}

TEST_F(SandboxSocketsTest, AnIdmappedOneHasItsMappedOwner) {
  List(path());
  Mount(R"(, "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 10}],
             "gidMappings": [{"containerID": 7, "hostID": 200000, "size": 10}])");
  Run(Create(this));
  ASSERT_TRUE(made_.ok()) << made_;
  ASSERT_EQ(agent_->created.sockets_size(), 2);
  EXPECT_EQ(agent_->created.sockets(0).uid(), 100000u);
  EXPECT_EQ(agent_->created.sockets(0).gid(), 65534u);
}

TEST_F(SandboxSocketsTest, OneThatIsNotListedIsRefused) {
  List(path() + "2");
  Mount();
  Run(Create(this));
  EXPECT_TRUE(absl::IsPermissionDenied(made_)) << made_;
  EXPECT_NE(made_.message().find("bind mount at \"/s\": socket \"" + path() + "\": "), std::string::npos) << made_;
  EXPECT_NE(made_.message().find("shared_sockets"), std::string::npos) << made_;
}

TEST_F(SandboxSocketsTest, AnAgentThatIsTooOldIsNotAsked) {
  agent_->has_host_sockets = false;
  List(path());
  Mount();
  Run(Create(this));
  EXPECT_TRUE(absl::IsFailedPrecondition(made_)) << made_;
  EXPECT_EQ(agent_->created.sockets_size(), 0);
}

}  // namespace
}  // namespace kata::virtcontainers
