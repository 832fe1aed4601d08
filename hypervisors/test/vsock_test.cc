// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/vsock.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

namespace kata::hypervisors {
namespace {

constexpr std::chrono::seconds kTimeout{10};

// One connection to a listener that reads a line and answers.
class VsockTest : public testing::Test {
 protected:
  VsockTest() {
    char name[] = "/tmp/vsock-XXXXXX";
    directory_ = ::mkdtemp(name);
    path_ = directory_ + "/host";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    listening_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(listening_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(listening_.get(), 1), 0);
  }
  ~VsockTest() override { std::filesystem::remove_all(directory_); }

  absl::StatusOr<UniqueFd> Connect(const std::string& answer) {
    std::thread daemon([this, answer] {
      UniqueFd peer(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      char c = 0;
      while (c != '\n' && ::recv(peer.get(), &c, 1, 0) == 1) request_.push_back(c);
      EXPECT_TRUE(WriteAll(peer.get(), answer).ok());
    });
    auto fd = ConnectVhostUserVsock(path_, 1024, ::getuid(), kTimeout);
    daemon.join();
    return fd;
  }

  std::string directory_;
  std::string path_;
  UniqueFd listening_;
  std::string request_;
};

TEST_F(VsockTest, StreamBeginsAfterTheAnswersLine) {
  auto fd = Connect("OK 1073741824\nstream");

  ASSERT_TRUE(fd.ok()) << fd.status();
  EXPECT_EQ(request_, "CONNECT 1024\n");
  EXPECT_EQ(*ReadAll(fd->get(), 100), "stream");
}

TEST_F(VsockTest, NobodyWhoListensInTheMachineIsUnavailable) {
  EXPECT_EQ(Connect("").status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(VsockTest, OtherAnswersAreRefused) {
  for (const char* answer : {"NO\n", "OK", "0123456789012345678901234567890123456789\n"}) {
    EXPECT_EQ(Connect(answer).status().code(), absl::StatusCode::kUnavailable) << answer;
  }
}

TEST_F(VsockTest, GuestIsReadyWhenItHasConnected) {
  EXPECT_TRUE(absl::IsUnavailable(WaitForReady(listening_.get(), std::chrono::milliseconds(1))));
  std::thread guest([this] {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  });
  EXPECT_TRUE(WaitForReady(listening_.get(), kTimeout).ok());
  guest.join();
  // Also for a second connection to the agent, when the guest's has ended.
  EXPECT_TRUE(WaitForReady(listening_.get(), kTimeout).ok());
}

TEST_F(VsockTest, ListenerOfAnotherUserIsRefused) {
  EXPECT_EQ(ConnectVhostUserVsock(path_, 1024, ::getuid() + 1, kTimeout).status().code(),
            absl::StatusCode::kPermissionDenied);
}

TEST_F(VsockTest, NoSocketIsAnErrorThatNamesIt) {
  auto fd = ConnectVhostUserVsock(path_ + "2", 1024, ::getuid(), kTimeout);
  EXPECT_EQ(fd.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(fd.status().message().find(path_ + "2"), std::string::npos);
}

TEST(VsockCidTest, IsReadFromTheDocument) {
  auto cid =
      VsockCidOf("<domain><devices><vsock model='virtio'><cid auto='yes' address='7'/></vsock></devices></domain>");
  ASSERT_TRUE(cid.ok()) << cid.status();
  EXPECT_EQ(*cid, 7u);
}

TEST(VsockCidTest, DocumentWithoutOneIsAnError) {
  for (const char* text :
       {"", "<domain", "<domain/>", "<domain><devices><vsock><cid auto='yes'/></vsock></devices></domain>"})
    EXPECT_FALSE(VsockCidOf(text).ok()) << text;
}

}  // namespace
}  // namespace kata::hypervisors
