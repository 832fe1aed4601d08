// SPDX-License-Identifier: Apache-2.0
// Volumes that the kubelet changes, from its files on the host to what the agent is told.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <fstream>

#include "virtcontainers/mirrors/volume_tree.h"
#include "virtcontainers/test/sandbox_fixture.h"

namespace kata::virtcontainers {
namespace {

class SandboxMirrorsTest : public SandboxFixture {
 protected:
  void SetUp() override {
    SandboxFixture::SetUp();
    if (IsSkipped()) return;
    agent_->has_mirrors = true;
    volume_ = directory_.path() + "/pods/uid/volumes/kubernetes.io~configmap/settings";
    std::filesystem::create_directories(volume_);
    Write("..one", "first");
  }
  // As the kubelet does it.
  void Write(const std::string& data, const std::string& content) const {
    std::filesystem::create_directory(volume_ + "/" + data);
    std::ofstream(volume_ + "/" + data + "/key") << content;
    std::filesystem::create_symlink(data, volume_ + "/..data_tmp");
    std::filesystem::rename(volume_ + "/..data_tmp", volume_ + "/..data");
    if (!std::filesystem::exists(std::filesystem::symlink_status(volume_ + "/key")))
      std::filesystem::create_symlink("..data/key", volume_ + "/key");
    if (data != "..one") std::filesystem::remove_all(volume_ + "/..one");
  }
  void Mount(const std::string& options = R"("rbind", "ro")", const std::string& more = "") {
    WriteMount(volume_, options, more);
  }
  static Co<absl::Status> Create(SandboxMirrorsTest* test) {
    CO_RETURN_IF_ERROR(co_await test->sandbox_->Start());
    ContainerOptions options = test->Options("c1");
    auto made = co_await test->sandbox_->CreateContainer(std::move(options));
    co_return made.status();
  }
  static Co<absl::Status> TryToCreate(SandboxMirrorsTest* test) {
    test->made_ = co_await Create(test);
    co_return absl::OkStatus();
  }
  static Co<absl::Status> WaitForContent(SandboxMirrorsTest* test, std::string content) {
    for (int i = 0; i < 1000; ++i) {
      if (!test->agent_->mirrored.empty() && ContentOf(test->agent_->mirrored.back()) == content)
        co_return absl::OkStatus();
      co_await Sleep(std::chrono::milliseconds(10));
    }
    co_return absl::DeadlineExceededError("it did not come");
  }
  static Co<absl::Status> CreateAndChange(SandboxMirrorsTest* test) {
    CO_RETURN_IF_ERROR(co_await Create(test));
    CO_RETURN_IF_ERROR(co_await WaitForContent(test, "first"));
    test->Write("..two", "second");
    co_return co_await WaitForContent(test, "second");
  }
  static Co<absl::Status> CreateAndRemove(SandboxMirrorsTest* test) {
    CO_RETURN_IF_ERROR(co_await Create(test));
    std::shared_ptr<Container> container = test->sandbox_->FindContainer("c1");
    CO_RETURN_IF_ERROR(co_await container->Kill("", 15, false));
    co_await container->init()->WaitExit();
    CO_RETURN_IF_ERROR(co_await test->sandbox_->DeleteContainer("c1"));
    test->agent_->mirrored.clear();
    test->Write("..two", "second");
    co_await Sleep(std::chrono::milliseconds(200));
    if (!test->agent_->mirrored.empty()) co_return absl::InternalError("it is followed still");
    CO_RETURN_IF_ERROR(co_await CreateAgain(test));
    co_return co_await WaitForContent(test, "second");
  }
  static Co<absl::Status> CreateAgain(SandboxMirrorsTest* test) {
    ContainerOptions options = test->Options("c2");
    auto made = co_await test->sandbox_->CreateContainer(std::move(options));
    co_return made.status();
  }
  static std::string ContentOf(const v1::SetMirrorRequest& request) {
    std::string data;
    for (const v1::MirrorEntry& entry : request.entries()) {
      if (entry.path() == "..data") data = entry.content();
    }
    for (const v1::MirrorEntry& entry : request.entries()) {
      if (entry.path() == data + "/key") return entry.content();
    }
    return "";
  }

  std::string volume_;
  absl::Status made_;
};

TEST_F(SandboxMirrorsTest, TheGuestHasACopyThatFollows) {
  Mount();
  Run(CreateAndChange(this));
  EXPECT_NE(agent_->created.spec_json().find(R"("source":"/run/kata-containers/mirrors/1")"), std::string::npos)
      << agent_->created.spec_json();
  for (const v1::SetMirrorRequest& request : agent_->mirrored) EXPECT_EQ(request.number(), 1u);
}

TEST_F(SandboxMirrorsTest, OneWithoutAContainerIsNotFollowed) {
  Mount();
  Run(CreateAndRemove(this));
}

TEST_F(SandboxMirrorsTest, OthersAreShared) {
  Mount(R"("rbind", "rw")");
  Run(Create(this));
  EXPECT_TRUE(agent_->mirrored.empty());
}

TEST_F(SandboxMirrorsTest, OneThatIsTooBigIsShared) {
  Mount();
  std::ofstream(volume_ + "/..one/big") << std::string(kTreeBytesMax, 'x');
  Run(Create(this));
  EXPECT_TRUE(agent_->mirrored.empty());
  EXPECT_EQ(agent_->created.spec_json().find("/mirrors/"), std::string::npos);
}

TEST_F(SandboxMirrorsTest, OwnersAreShownAsTheMapsSay) {
  ASSERT_EQ(::chown((volume_ + "/..one/key").c_str(), 5, 100'000), 0);
  Mount(R"("rbind", "ro", "ridmap")", R"(, "uidMappings": [{"containerID": 0, "hostID": 70000, "size": 10}],
        "gidMappings": [{"containerID": 0, "hostID": 80000, "size": 10}])");
  Run(Create(this));
  ASSERT_FALSE(agent_->mirrored.empty());
  for (const v1::MirrorEntry& entry : agent_->mirrored[0].entries()) {
    if (entry.path() != "..one/key") continue;
    EXPECT_EQ(entry.uid(), 70'005u);
    EXPECT_EQ(entry.gid(), 65'534u);
  }
}

TEST_F(SandboxMirrorsTest, AnAgentThatCannotRefusesByName) {
  agent_->has_mirrors = false;
  Mount();
  Run(TryToCreate(this));
  EXPECT_TRUE(absl::IsFailedPrecondition(made_)) << made_;
}

TEST(VolumeTreeTest, ATreeInWhichSomethingIsMountedDoesNotFit) {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    GTEST_SKIP() << "needs a mount namespace";
  const TestDirectory directory;
  const std::string below = directory.path() + "/below";
  std::filesystem::create_directory(below);
  std::filesystem::create_symlink("/etc", directory.path() + "/link");
  const UniqueFd fd(::open(directory.path().c_str(), O_RDONLY | O_DIRECTORY));
  auto tree = ReadVolumeTree(fd.get());
  ASSERT_TRUE(tree.ok()) << tree.status();
  ASSERT_EQ(tree->entries.size(), 3u);
  EXPECT_EQ(tree->entries[2].content, "/etc");
  ASSERT_EQ(::mount("tmpfs", below.c_str(), "tmpfs", 0, nullptr), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadVolumeTree(fd.get()).status()));
  ASSERT_EQ(::umount(below.c_str()), 0);
  ASSERT_EQ(::mkfifo((below + "/fifo").c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadVolumeTree(fd.get()).status()));
}

}  // namespace
}  // namespace kata::virtcontainers
