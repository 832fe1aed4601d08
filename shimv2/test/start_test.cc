// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bootstrap/start.h"
#include "shimv2/pod/pod_sandbox.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "proto/base/fd.h"
#include "shimv2/bootstrap/socket_address.h"

namespace kata::shimv2 {
namespace {

class StartTest : public testing::Test {
 protected:
  StartTest() {
    char name[] = "/tmp/start-XXXXXX";
    directory_ = ::mkdtemp(name);
    std::filesystem::create_directories(directory_ + "/pod");
    std::filesystem::create_directories(directory_ + "/box");
    info_.sandbox_id = "pod";
    info_.group = "pod";
    info_.joins_sandbox = true;
  }
  ~StartTest() override { std::filesystem::remove_all(directory_); }

  absl::StatusOr<std::string> Find() {
    return FindSandboxSocket(directory_ + "/box", directory_ + "/s/computed", info_);
  }
  void WriteAddress(const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(directory_ + "/pod/address", text, 0600).ok());
  }

  std::string directory_;
  BundleInfo info_;
};

TEST_F(StartTest, SandboxIsFoundByItsComputedName) {
  auto socket = ListenOn(directory_ + "/s/computed");
  ASSERT_TRUE(socket.ok()) << socket.status();
  WriteAddress("unix://" + directory_ + "/s/other");

  EXPECT_EQ(*Find(), directory_ + "/s/computed");
  struct stat info {};
  ASSERT_EQ(::stat((directory_ + "/s/computed").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(StartTest, SandboxElsewhereIsFoundByItsBundle) {
  auto socket = ListenOn(directory_ + "/s/other");
  ASSERT_TRUE(socket.ok()) << socket.status();
  WriteAddress("unix://" + directory_ + "/s/other\n");

  EXPECT_EQ(*Find(), directory_ + "/s/other");
}

TEST_F(StartTest, DeadSandboxIsAClearError) {
  // Its socket file is still there, and nobody listens.
  ASSERT_TRUE(ListenOn(directory_ + "/s/computed").ok());
  WriteAddress("unix://" + directory_ + "/s/computed");

  EXPECT_EQ(Find().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Find().status().message(), "joining sandbox \"pod\": it has no running shim; delete the pod");
}

TEST_F(StartTest, SandboxIdIsNoWayOutOfTheDirectory) {
  auto socket = ListenOn(directory_ + "/s/other");
  WriteAddress("unix://" + directory_ + "/s/other");
  info_.sandbox_id = "../" + directory_.substr(directory_.rfind('/') + 1) + "/pod";

  EXPECT_EQ(Find().status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(StartTest, ContainerOfAPodGetsTheAddressOfItsSandboxAndNoProcess) {
  auto socket = ListenOn(directory_ + "/s/other");
  ASSERT_TRUE(socket.ok()) << socket.status();
  const std::string address = "unix://" + directory_ + "/s/other";
  WriteAddress(address);
  ASSERT_TRUE(WriteFileAtomically(directory_ + "/box/config.json",
                                  R"({"process":{},"root":{},"annotations":{)"
                                  R"("io.kubernetes.cri-o.ContainerType":"container",)"
                                  R"("io.kubernetes.cri-o.SandboxID":"pod"}})",
                                  0600)
                  .ok());
  const std::string cwd = std::filesystem::current_path();
  std::filesystem::current_path(directory_ + "/box");
  UniqueFd input(::dup(STDIN_FILENO));
  UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  ::dup2(null.get(), STDIN_FILENO);
  Arguments arguments;
  arguments.name_space = "unit-test";
  arguments.id = "box";

  auto started = Start(arguments);
  socket->reset();
  auto refused = Start(arguments);

  ::dup2(input.get(), STDIN_FILENO);
  std::filesystem::current_path(cwd);
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_EQ(*started, address);
  EXPECT_EQ(*ReadFile(directory_ + "/box/address", 4096), address);
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/box/shim.pid"));
  EXPECT_EQ(refused.status().message(),
            "starting container \"box\": joining sandbox \"pod\": it has no running shim; delete the pod");
}

TEST_F(StartTest, RecordedAddressMustBeASocketPath) {
  EXPECT_EQ(RecordedSocketPath(directory_ + "/pod"), "");
  for (const char* text : {"", "unix://", "unix://relative", "vsock://3:1", "/a/path"}) {
    WriteAddress(text);
    EXPECT_EQ(RecordedSocketPath(directory_ + "/pod"), "") << text;
  }
  WriteAddress("unix:///a/path\n");
  EXPECT_EQ(RecordedSocketPath(directory_ + "/pod"), "/a/path");
}

TEST_F(StartTest, SocketNameIsTheGroupsInItsDirectory) {
  const std::string usual = SocketPath("", "/c.sock", "ns", "pod");

  EXPECT_EQ(usual.substr(0, usual.rfind('/')), kSocketDirectory);
  EXPECT_EQ(usual.size(), std::string(kSocketDirectory).size() + 1 + 64);
  EXPECT_EQ(SocketPath("/d", "/c.sock", "ns", "pod"), "/d" + usual.substr(usual.rfind('/')));
  EXPECT_NE(SocketPath("", "/c.sock", "ns", "pod2"), usual);
}

TEST_F(StartTest, SandboxNamesDifferAmongNamespacesAndContainerds) {
  const std::string name = SandboxName("pod", SocketPath("", "/c.sock", "ns", "pod"));
  EXPECT_EQ(name.rfind("pod-", 0), 0u);
  EXPECT_EQ(name.size(), 4u + 8u);
  EXPECT_EQ(SandboxName("pod", SocketPath("/d", "/c.sock", "ns", "pod")), name);
  EXPECT_NE(SandboxName("pod", SocketPath("", "/c.sock", "ns2", "pod")), name);
  EXPECT_NE(SandboxName("pod", SocketPath("", "/d.sock", "ns", "pod")), name);
}

TEST_F(StartTest, OfManyStartsAtOnceOneListens) {
  const std::string path = directory_ + "/s/raced";
  for (int round = 0; round < 20; ++round) {
    {
      auto stale = ListenOn(path);  // its process ends and leaves the file
      ASSERT_TRUE(stale.ok()) << stale.status();
    }
    std::vector<absl::StatusOr<UniqueFd>> sockets(8);
    std::vector<std::thread> threads;
    for (auto& socket : sockets) threads.emplace_back([&socket, &path] { socket = ListenOn(path); });
    for (std::thread& thread : threads) thread.join();

    int listening = 0;
    for (auto& socket : sockets) {
      if (socket.ok())
        ++listening;
      else
        EXPECT_EQ(socket.status().code(), absl::StatusCode::kAlreadyExists) << socket.status();
    }
    EXPECT_EQ(listening, 1);
    EXPECT_TRUE(IsListening(path));
    EXPECT_FALSE(std::filesystem::exists(path + ".lock"));
  }
}

TEST_F(StartTest, LockOfAKilledStartIsTakenAndRemoved) {
  const std::string path = directory_ + "/s/locked";
  ASSERT_TRUE(MakeDirs(directory_ + "/s", 0700).ok());
  ASSERT_TRUE(WriteFileAtomically(path + ".lock", "", 0600).ok());
  EXPECT_TRUE(ListenOn(path).ok());
  EXPECT_FALSE(std::filesystem::exists(path + ".lock"));
  ASSERT_TRUE(WriteFileAtomically(path + ".lock", "", 0600).ok());
  RemoveStaleSocket(path);
  EXPECT_FALSE(std::filesystem::exists(path + ".lock"));
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(StartTest, OnlyAStaleSocketIsRemoved) {
  const std::string path = directory_ + "/s/computed";
  {
    auto socket = ListenOn(path);
    RemoveStaleSocket(path);
    EXPECT_TRUE(std::filesystem::exists(path));
    EXPECT_EQ(ListenOn(path).status().code(), absl::StatusCode::kAlreadyExists);
  }
  RemoveStaleSocket(path);
  EXPECT_FALSE(std::filesystem::exists(path));
  RemoveStaleSocket(directory_ + "/pod");
  ASSERT_TRUE(WriteFileAtomically(directory_ + "/file", "", 0600).ok());
  RemoveStaleSocket(directory_ + "/file");
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/file"));
}

}  // namespace
}  // namespace kata::shimv2
