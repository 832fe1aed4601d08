// SPDX-License-Identifier: Apache-2.0
// Which sockets of the host a pod may be given, and that nothing else is reached by a path that was allowed once.
#include "virtcontainers/sockets/host_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "virtcontainers/test/test_directory.h"

namespace kata::virtcontainers {
namespace {

bool Matches(const std::string& pattern, const std::string& path) { return IsListed({{pattern}, ""}, path); }

TEST(SocketRules, APatternIsTheWholePath) {
  EXPECT_TRUE(Matches("/run/a.sock", "/run/a.sock"));
  for (const char* path : {"/run/a.sock2", "/x/run/a.sock", "/run/a.soc", "/run/a.sock/b", "run/a.sock", ""})
    EXPECT_FALSE(Matches("/run/a.sock", path)) << path;
  EXPECT_FALSE(IsListed({}, "/run/a.sock"));
  EXPECT_TRUE(IsListed({{"/x", "/run/a.sock"}, ""}, "/run/a.sock"));
}

TEST(SocketRules, AStarStaysInOnePartOfThePath) {
  EXPECT_TRUE(Matches("/run/csi/*.sock", "/run/csi/a.sock"));
  EXPECT_TRUE(Matches("/run/*/s-*-1", "/run/x/s--1"));
  for (const char* path : {"/run/csi/b/a.sock", "/run/csi/.sock", "/run/csi/.a.sock", "/run/csi/a.sock.d"})
    EXPECT_FALSE(Matches("/run/csi/*.sock", path)) << path;
  EXPECT_FALSE(Matches("/run/**", "/run/a/b"));
  EXPECT_FALSE(Matches("/*", "/run/a"));
  EXPECT_FALSE(Matches("/run/*/a", "/run/.hidden/a"));
}

TEST(SocketRules, OnlyPlainAbsolutePathsArePatterns) {
  for (const char* good : {"/a", "/run/csi/*.sock", "/run/*", "/run/a b/..c"})
    EXPECT_TRUE(CheckSocketPattern(good).ok()) << good;
  for (const char* bad : {"", "run/a", "*", "/", "/run/", "//run", "/run//a", "/run/./a", "/run/../a", "/run/..",
                          "/run/a?", "/run/[ab]", "/run/\\*"}) {
    const absl::Status status = CheckSocketPattern(bad);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << bad;
    EXPECT_EQ(status.message().find(std::string("pattern \"") + bad + "\": "), 0u) << status;
  }
}

class HostSocketTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }
  UniqueFd Listen(const std::string& name, int type = SOCK_STREAM, int backlog = 8) const {
    UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    EXPECT_LT(Path(name).copy(address.sun_path, sizeof(address.sun_path) - 1), sizeof(address.sun_path) - 1);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    if (type != SOCK_DGRAM) EXPECT_EQ(::listen(fd.get(), backlog), 0);
    return fd;
  }
  static bool HasConnection(const UniqueFd& listener) {
    return UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)).valid();
  }
  absl::StatusOr<std::optional<HostSocket>> Find(const std::string& name,
                                                 const std::vector<std::string>& listed = {}) const {
    SocketRules rules;
    for (const std::string& pattern : listed) rules.patterns.push_back(Path(pattern));
    rules.file = "/etc/c.toml";
    return FindHostSocket(Path(name), rules);
  }

  TestDirectory directory_;
};

TEST_F(HostSocketTest, WhatIsNoSocketIsNoneWhateverIsListed) {
  ASSERT_TRUE(WriteFileAtomically(Path("file"), "x", 0644).ok());
  std::filesystem::create_symlink(Path("nowhere"), Path("dangling"));
  for (const char* name : {"file", "", "missing", "dangling"}) {
    auto found = Find(name, {"*"});
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_FALSE(found->has_value()) << name;
  }
}

TEST_F(HostSocketTest, AListedSocketIsFoundWithItsOwnerAndMode) {
  const UniqueFd server = Listen("a.sock");
  ASSERT_EQ(::chmod(Path("a.sock").c_str(), 0620), 0);
  auto found = Find("a.sock", {"x", "*.sock"});
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_TRUE(found->has_value());
  EXPECT_EQ((*found)->path, Path("a.sock"));
  EXPECT_EQ((*found)->mode, 0620u);
  EXPECT_EQ((*found)->uid, ::geteuid());
  EXPECT_FALSE(HasConnection(server)) << "looking at it is no connection";
}

TEST_F(HostSocketTest, OneThatIsNotListedIsRefusedWithWhatToAdd) {
  const UniqueFd server = Listen("a.sock");
  auto found = Find("a.sock", {"b.sock"});
  EXPECT_TRUE(absl::IsPermissionDenied(found.status()));
  EXPECT_EQ(found.status().message(),
            "socket \"" + Path("a.sock") +
                "\": a pod may have those sockets of the host that shared_sockets lists; an operator can add \"" +
                Path("a.sock") + "\" to it in \"/etc/c.toml\"");
}

TEST_F(HostSocketTest, ALinkCountsAsWhatItLeadsTo) {
  std::filesystem::create_directory(Path("real"));
  const UniqueFd server = Listen("real/a.sock");
  std::filesystem::create_symlink(Path("real/a.sock"), Path("link.sock"));
  std::filesystem::create_symlink(Path("real"), Path("way"));
  for (const char* name : {"link.sock", "way/a.sock", "real/../way/a.sock"}) {
    auto found = Find(name, {"real/a.sock"});
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ((*found)->path, Path("real/a.sock"));
    // However it is called, its own name is what counts.
    auto refused = Find(name, {"link.sock", "way/*"});
    EXPECT_TRUE(absl::IsPermissionDenied(refused.status())) << name;
    EXPECT_NE(refused.status().message().find("which is \"" + Path("real/a.sock") + "\""), std::string::npos);
  }
}

TEST_F(HostSocketTest, SocketsOfOtherKindsAreRefusedByName) {
  for (const auto& [type, kind] : {std::pair(SOCK_DGRAM, "SOCK_DGRAM"), std::pair(SOCK_SEQPACKET, "SOCK_SEQPACKET")}) {
    const UniqueFd server = Listen(kind, type);
    auto found = Find(kind, {"*"});
    EXPECT_TRUE(absl::IsUnimplemented(found.status())) << found.status();
    EXPECT_NE(found.status().message().find(std::string("it is a ") + kind), std::string::npos) << found.status();
    EXPECT_TRUE(absl::IsUnimplemented(ConnectToHostSocket(Path(kind)).status()));
  }
}

TEST_F(HostSocketTest, OneThatNobodyListensAtIsListedAllTheSame) {
  Listen("a.sock").reset();
  auto found = Find("a.sock", {"a.sock"});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_TRUE(found->has_value());
  auto connected = ConnectToHostSocket(Path("a.sock"));
  EXPECT_TRUE(absl::IsUnavailable(connected.status()) || absl::IsFailedPrecondition(connected.status()) ||
              connected.status().message().find("connection refused") != std::string::npos)
      << connected.status();
}

TEST_F(HostSocketTest, AServerThatIsStartedAnewIsReached) {
  UniqueFd server = Listen("a.sock");
  ASSERT_TRUE(ConnectToHostSocket(Path("a.sock")).ok());
  EXPECT_TRUE(HasConnection(server));
  server.reset();
  ::unlink(Path("a.sock").c_str());
  EXPECT_FALSE(ConnectToHostSocket(Path("a.sock")).ok());
  server = Listen("a.sock");
  ASSERT_TRUE(ConnectToHostSocket(Path("a.sock")).ok());
  EXPECT_TRUE(HasConnection(server));
}

TEST_F(HostSocketTest, WhatTakesThePlaceOfAListedSocketIsNotFollowed) {
  std::filesystem::create_directory(Path("listed"));
  std::filesystem::create_directory(Path("secret"));
  const UniqueFd secret = Listen("secret/a.sock");
  std::filesystem::create_symlink(Path("secret/a.sock"), Path("listed/a.sock"));
  EXPECT_FALSE(ConnectToHostSocket(Path("listed/a.sock")).ok());
  ::unlink(Path("listed/a.sock").c_str());
  ASSERT_TRUE(WriteFileAtomically(Path("listed/a.sock"), "x", 0644).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(ConnectToHostSocket(Path("listed/a.sock")).status()));
  std::filesystem::remove_all(Path("listed"));
  std::filesystem::create_symlink(Path("secret"), Path("listed"));
  EXPECT_FALSE(ConnectToHostSocket(Path("listed/a.sock")).ok());
  EXPECT_FALSE(HasConnection(secret));
}

TEST_F(HostSocketTest, AServerThatTakesNoMoreIsNotWaitedFor) {
  const UniqueFd server = Listen("a.sock", SOCK_STREAM, 0);
  ASSERT_TRUE(ConnectToHostSocket(Path("a.sock")).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(ConnectToHostSocket(Path("a.sock")).status()));
}

}  // namespace
}  // namespace kata::virtcontainers
