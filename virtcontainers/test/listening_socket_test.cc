// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/agent_client/listening_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "proto/ttrpc/transport.h"
#include "virtcontainers/test/test_directory.h"

namespace kata::virtcontainers {
namespace {

TEST(ListenFor, PathMayBeLongerThanAnAddress) {
  TestDirectory top;
  const std::string directory = top.path() + "/" + std::string(120, 'd');
  ASSERT_EQ(::mkdir(directory.c_str(), 0700), 0);
  // What a predecessor left.
  ASSERT_TRUE(WriteFileAtomically(directory + "/socket", "old", 0666).ok());

  auto listening = ListenFor(directory + "/socket", ::getuid(), ::getgid());

  ASSERT_TRUE(listening.ok()) << listening.status();
  struct stat info {};
  ASSERT_EQ(::stat((directory + "/socket").c_str(), &info), 0);
  EXPECT_TRUE(S_ISSOCK(info.st_mode));
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(::symlink(directory.c_str(), (top.path() + "/short").c_str()), 0);
  auto connected = ttrpc::ConnectUnix(top.path() + "/short/socket");
  ASSERT_TRUE(connected.ok()) << connected.status();
  UniqueFd accepted(::accept4(listening->get(), nullptr, nullptr, SOCK_CLOEXEC));
  EXPECT_TRUE(accepted.valid());
}

TEST(ListenFor, MissingDirectoryAndLongNameAreErrorsThatNameThePath) {
  TestDirectory top;
  for (const std::string& name : {std::string("none/socket"), std::string(100, 'n')}) {
    const std::string path = top.path() + "/" + name;
    auto listening = ListenFor(path, ::getuid(), ::getgid());
    EXPECT_FALSE(listening.ok());
    EXPECT_NE(listening.status().message().find(path), std::string::npos) << listening.status();
  }
}

}  // namespace
}  // namespace kata::virtcontainers
