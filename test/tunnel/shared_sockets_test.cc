// SPDX-License-Identifier: Apache-2.0
// Sockets of the host in a container, from a client in the guest to a server on the host: the agent's and the host's
// code with a connection of the protocol between, and a guest that does not keep to it.
#include "virtcontainers/sockets/socket_relay.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "agent/network/host_sockets.h"
#include "proto/base/fd.h"
#include "proto/base/stdio_limits.h"
#include "proto/schema/agent.ttrpc.h"
#include "proto/ttrpc/transport.h"
#include "virtcontainers/test/test_directory.h"

namespace kata::virtcontainers {
namespace {

using agent::v1::TunnelMessage;

constexpr std::chrono::seconds kPatience{30};
constexpr size_t kLongText = 4u << 20;
constexpr char kAgent[] = "kata.agent.v1.Agent";
constexpr char kContainer[] = "c1";

std::string MakeText(size_t size, unsigned seed) {
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>((seed = seed * 1103515245 + 12345) >> 16);
  return text;
}

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  EXPECT_LT(path.size(), sizeof(address.sun_path));
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
}

void SetPatience(const UniqueFd& fd) {
  const timeval patience{kPatience.count(), 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

// What has come up to the end.
std::string ReadAll(const UniqueFd& fd) {
  std::string text;
  std::vector<char> buffer(1u << 16);
  for (;;) {
    const ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    EXPECT_FALSE(n < 0 && errno == EAGAIN) << "nothing came in time";
    if (n <= 0) return text;
    text.append(buffer.data(), static_cast<size_t>(n));
  }
}

void WriteText(const UniqueFd& fd, const std::string& text) {
  size_t at = 0;
  while (at < text.size()) {
    const ssize_t n = ::send(fd.get(), text.data() + at, text.size() - at, MSG_NOSIGNAL);
    if (n <= 0) return;
    at += static_cast<size_t>(n);
  }
}

class SharedSocketsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    services_.AddStream(kAgent, "AcceptSocket", [this](ttrpc::CallContext, std::shared_ptr<ttrpc::Stream> stream) {
      ++calls_;
      return answer_(std::make_shared<TunnelStream>(std::move(stream)));
    });
    thread_ = std::thread([this] { io_.run(); });
    Do([this] {
      int ends[2] = {-1, -1};
      EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
      const auto executor = io_.get_executor();
      agent_ = ttrpc::Connection::Start(executor, ttrpc::MakeFdTransport(executor, UniqueFd(ends[0])), &services_);
      shim_ = ttrpc::Connection::Start(executor, ttrpc::MakeFdTransport(executor, UniqueFd(ends[1])), nullptr);
      relay_ = std::make_shared<SocketRelay>(executor, pool_);
      sockets_ = std::make_shared<agent::HostSockets>(executor, guest());
    });
    answer_ = [this](std::shared_ptr<TunnelStream> stream) { return sockets_->Serve(std::move(stream)); };
  }

  void TearDown() override {
    Do([this] {
      relay_->Stop();
      sockets_->Close(kContainer);
      shim_->Close(absl::CancelledError("test over"));
      agent_->Close(absl::CancelledError("test over"));
    });
    work_.reset();
    thread_.join();
    EXPECT_EQ(relay_->carried(), 0u);
  }

  // On the io thread.
  void Do(std::function<void()> job) {
    std::promise<void> done;
    asio::post(io_, [&job, &done] {
      job();
      done.set_value();
    });
    done.get_future().get();
  }
  size_t Carried() {
    size_t carried = 0;
    Do([this, &carried] { carried = relay_->carried(); });
    return carried;
  }
  template <typename Condition>
  static bool WaitFor(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!condition() && std::chrono::steady_clock::now() < end) ::usleep(5'000);
    return condition();
  }

  std::string guest() const { return directory_.path() + "/guest"; }
  std::string Host(const std::string& name) const { return directory_.path() + "/" + name; }
  std::string Guest(int index) const { return guest() + "/" + kContainer + "/" + std::to_string(index); }
  // The container with these sockets of the host.
  void Make(const std::vector<std::string>& names, const std::string& id = kContainer, uint32_t mode = 0600) {
    Do([&] {
      google::protobuf::RepeatedPtrField<agent::v1::HostSocket> wanted;
      std::vector<std::string> paths;
      for (const std::string& name : names) {
        paths.push_back(Host(name));
        agent::v1::HostSocket& socket = *wanted.Add();
        socket.set_mode(mode);
        socket.set_uid(::geteuid());
        socket.set_gid(::getegid());
      }
      const absl::Status opened = sockets_->Open(id, wanted);
      EXPECT_TRUE(opened.ok()) << opened;
      relay_->Add(shim_, id, std::move(paths));
    });
  }

  UniqueFd Listen(const std::string& name, int backlog = 512, int type = SOCK_STREAM) const {
    UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    const sockaddr_un address = AddressOf(Host(name));
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(fd.get(), backlog), 0);
    SetPatience(fd);
    return fd;
  }
  static UniqueFd Accept(const UniqueFd& listener) {
    UniqueFd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_TRUE(fd.valid()) << "nobody came";
    SetPatience(fd);
    return fd;
  }
  UniqueFd Connect(int index = 0) const { return ConnectTo(Guest(index)); }
  static UniqueFd ConnectTo(const std::string& path) {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SetPatience(fd);
    const sockaddr_un address = AddressOf(path);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0) << path;
    return fd;
  }

  // Guests that do not keep to the protocol.
  static Co<absl::Status> AnswerByFlooding(std::shared_ptr<TunnelStream> stream) {
    TunnelMessage message;
    message.set_accepted(true);
    absl::Status sent = co_await stream->Send(message);
    message.set_data(std::string(kStdioChunkMax, 'x'));
    for (int i = 0; i < 4096; ++i) {
      sent = co_await stream->Send(message);
      if (!sent.ok()) break;
    }
    co_return absl::OkStatus();
  }
  static Co<absl::Status> AnswerByAccepting(std::shared_ptr<TunnelStream> stream) {
    TunnelMessage message;
    message.set_accepted(true);
    absl::Status sent = co_await stream->Send(message);
    for (;;) {
      auto next = co_await stream->Receive();
      if (!next.ok()) co_return sent;
    }
  }
  static Co<absl::Status> AnswerWithSomethingElse(std::shared_ptr<TunnelStream> stream) {
    // As if it were the host that accepts, at a socket of the guest's choice.
    TunnelMessage message;
    message.mutable_accept()->set_container_id("other");
    message.mutable_accept()->set_socket(7);
    absl::Status sent = co_await stream->Send(message);
    for (;;) {
      auto next = co_await stream->Receive();
      if (!next.ok()) co_return sent;
    }
  }

  TestDirectory directory_;
  std::function<Co<absl::Status>(std::shared_ptr<TunnelStream>)> answer_;
  std::atomic<size_t> calls_ = 0;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  asio::thread_pool pool_{2};
  ttrpc::ServiceMap services_;
  std::shared_ptr<ttrpc::Connection> agent_;
  std::shared_ptr<ttrpc::Connection> shim_;
  std::shared_ptr<SocketRelay> relay_;
  std::shared_ptr<agent::HostSockets> sockets_;
  std::thread thread_;
};

TEST_F(SharedSocketsTest, EachDirectionEndsByItself) {
  const UniqueFd server = Listen("a");
  Make({"a"});
  const std::string question = MakeText(kLongText, 1);
  const std::string answer = MakeText(kLongText, 2);
  auto served = std::async(std::launch::async, [&] {
    const UniqueFd connection = Accept(server);
    std::string text = ReadAll(connection);
    WriteText(connection, answer);
    return text;
  });
  const UniqueFd client = Connect();
  WriteText(client, question);
  ::shutdown(client.get(), SHUT_WR);
  EXPECT_TRUE(ReadAll(client) == answer);
  EXPECT_TRUE(served.get() == question);
}

TEST_F(SharedSocketsTest, AServerThatEndsFirstGetsAllTheSame) {
  const UniqueFd server = Listen("a");
  Make({"a"});
  const std::string question = MakeText(kLongText, 3);
  const UniqueFd client = Connect();
  const UniqueFd connection = Accept(server);
  ::shutdown(connection.get(), SHUT_WR);
  EXPECT_EQ(ReadAll(client), "");
  auto served = std::async(std::launch::async, [&] { return ReadAll(connection); });
  WriteText(client, question);
  ::shutdown(client.get(), SHUT_WR);
  EXPECT_TRUE(served.get() == question);
}

TEST_F(SharedSocketsTest, TheEndOfAServerIsTheEndOfTheConnection) {
  UniqueFd server = Listen("a");
  Make({"a"});
  const UniqueFd client = Connect();
  Accept(server).reset();
  EXPECT_EQ(ReadAll(client), "");
}

TEST_F(SharedSocketsTest, ASocketHasItsModeAndEachLeadsToItsOwn) {
  const UniqueFd a = Listen("a");
  const UniqueFd b = Listen("b");
  Make({"a", "b", "a"}, kContainer, 0620);
  struct stat info {};
  ASSERT_EQ(::stat(Guest(1).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode, S_IFSOCK | 0620u);
  const UniqueFd* servers[] = {&a, &b, &a};
  for (int i = 0; i < 3; ++i) {
    const UniqueFd client = Connect(i);
    const UniqueFd connection = Accept(*servers[i]);
    WriteText(client, "x");
    ::shutdown(client.get(), SHUT_WR);
    EXPECT_EQ(ReadAll(connection), "x");
  }
}

TEST_F(SharedSocketsTest, AContainersNameMayBeLong) {
  const UniqueFd server = Listen("a");
  const std::string id(200, 'c');
  Make({"a"}, id);
  EXPECT_TRUE(std::filesystem::is_socket(guest() + "/" + id + "/0"));
  Do([&] { sockets_->Close(id); });
  EXPECT_FALSE(std::filesystem::exists(guest() + "/" + id));
}

TEST_F(SharedSocketsTest, AHundredConnectionsAtOnce) {
  const UniqueFd server = Listen("a");
  Make({"a"});
  std::vector<UniqueFd> clients;
  std::vector<UniqueFd> connections;
  for (int i = 0; i < 100; ++i) clients.push_back(Connect());
  for (int i = 0; i < 100; ++i) connections.push_back(Accept(server));
  for (size_t i = 0; i < clients.size(); ++i) WriteText(clients[i], std::string(1, static_cast<char>(i)));
  for (const UniqueFd& connection : connections) {
    char byte = 0;
    ASSERT_EQ(::recv(connection.get(), &byte, 1, 0), 1);
    WriteText(connection, std::string(1, byte));
  }
  for (size_t i = 0; i < clients.size(); ++i) {
    char byte = 0;
    ASSERT_EQ(::recv(clients[i].get(), &byte, 1, 0), 1);
    EXPECT_EQ(byte, static_cast<char>(i));
  }
}

TEST_F(SharedSocketsTest, OneTooManyIsClosedAndAnEndMakesRoom) {
  const UniqueFd server = Listen("a");
  Make({"a"});
  std::vector<UniqueFd> clients;
  std::vector<UniqueFd> connections;
  for (size_t i = 0; i < kSocketConnectionsMax; ++i) {
    clients.push_back(Connect());
    connections.push_back(Accept(server));
  }
  EXPECT_EQ(ReadAll(Connect()), "");
  EXPECT_EQ(Carried(), kSocketConnectionsMax);
  clients.pop_back();
  EXPECT_EQ(ReadAll(connections.back()), "");
  connections.pop_back();
  ASSERT_TRUE(WaitFor([this] { return Carried() < kSocketConnectionsMax; }));
  const UniqueFd client = Connect();
  EXPECT_TRUE(Accept(server).valid());
}

TEST_F(SharedSocketsTest, AConnectionThatNobodyTakesIsClosedAndALaterServerIsReached) {
  Make({"a"});
  EXPECT_EQ(ReadAll(Connect()), "");
  const UniqueFd server = Listen("a");
  const UniqueFd client = Connect();
  EXPECT_TRUE(Accept(server).valid());
}

TEST_F(SharedSocketsTest, AServerOfAnotherKindIsNotReached) {
  const UniqueFd server = Listen("a", 8, SOCK_SEQPACKET);
  Make({"a"});
  EXPECT_EQ(ReadAll(Connect()), "");
}

TEST_F(SharedSocketsTest, AServerThatTakesNoMoreIsWaitedFor) {
  const UniqueFd server = Listen("a", 0);
  Make({"a"});
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(Connect());
  ::usleep(50'000);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Accept(server).valid());
}

TEST_F(SharedSocketsTest, TheEndOfAContainerEndsItsConnectionsAndNoOthers) {
  const UniqueFd server = Listen("a");
  Make({"a"});
  Make({"a"}, "c2");
  const UniqueFd mine = Connect();
  const UniqueFd mine_at_server = Accept(server);
  const UniqueFd others = ConnectTo(guest() + "/c2/0");
  const UniqueFd others_at_server = Accept(server);
  Do([this] {
    relay_->Remove(kContainer);
    sockets_->Close(kContainer);
  });
  EXPECT_EQ(ReadAll(mine), "");
  EXPECT_EQ(ReadAll(mine_at_server), "");
  EXPECT_FALSE(std::filesystem::exists(guest() + "/" + kContainer));
  EXPECT_TRUE(WaitFor([this] { return Carried() == 1; }));
  WriteText(others, "x");
  ::shutdown(others.get(), SHUT_WR);
  EXPECT_EQ(ReadAll(others_at_server), "x");
  Do([this] { sockets_->Close("c2"); });
  // Its name is free again.
  Make({"a"});
  const UniqueFd again = Connect();
  EXPECT_TRUE(Accept(server).valid());
}

TEST_F(SharedSocketsTest, TheAgentKnowsNoOtherSocketsThanThoseItWasTold) {
  const UniqueFd server = Listen("a");
  Make({"a"});
  ASSERT_TRUE(WaitFor([this] { return calls_ == 1; }));
  // The host asks for one that the container does not have: it hears so and asks no more.
  Do([this] { relay_->Add(shim_, "other", {Host("a")}); });
  ASSERT_TRUE(WaitFor([this] { return calls_ == 2; }));
  ::usleep(50'000);
  EXPECT_EQ(calls_, 2u);
}

TEST_F(SharedSocketsTest, ALaterCallTakesThePlaceOfOneThatWaits) {
  const UniqueFd server = Listen("a");
  Make({"a"});
  ASSERT_TRUE(WaitFor([this] { return calls_ == 1; }));
  Do([this] { relay_->Add(shim_, kContainer, {Host("a")}); });
  ASSERT_TRUE(WaitFor([this] { return calls_ == 2; }));
  const UniqueFd client = Connect();
  EXPECT_TRUE(Accept(server).valid());
}

TEST_F(SharedSocketsTest, TooManySocketsAreRefusedAndLeaveNothing) {
  Do([this] {
    google::protobuf::RepeatedPtrField<agent::v1::HostSocket> wanted;
    for (int i = 0; i < agent::kHostSocketsMax + 1; ++i) wanted.Add();
    EXPECT_TRUE(absl::IsResourceExhausted(sockets_->Open("many", wanted)));
  });
  EXPECT_FALSE(std::filesystem::exists(guest() + "/many"));
}

TEST_F(SharedSocketsTest, AGuestThatFloodsIsCutOff) {
  const UniqueFd server = Listen("a");
  answer_ = &AnswerByFlooding;
  Do([this] { relay_->Add(shim_, kContainer, {Host("a")}); });
  // It reads nothing: what has come beyond the credit would have to be kept.
  const UniqueFd connection = Accept(server);
  pollfd ended{connection.get(), POLLRDHUP, 0};
  ASSERT_EQ(::poll(&ended, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())), 1);
  EXPECT_LT(ReadAll(connection).size(), 8u << 20);
}

TEST_F(SharedSocketsTest, AGuestThatAcceptsWithoutEndHasNoMoreThanItsShare) {
  const UniqueFd server = Listen("a", 4096);
  answer_ = &AnswerByAccepting;
  Do([this] { relay_->Add(shim_, kContainer, {Host("a")}); });
  ASSERT_TRUE(WaitFor([this] { return calls_ > kSocketConnectionsMax + 10; }));
  EXPECT_EQ(Carried(), kSocketConnectionsMax);
  const size_t before = calls_;
  ::usleep(200'000);
  EXPECT_LT(calls_, before + 40) << "each costs it a while";
  Do([this] { relay_->Remove(kContainer); });
  EXPECT_TRUE(WaitFor([this] { return Carried() == 0; }));
}

TEST_F(SharedSocketsTest, AGuestThatAnswersWithSomethingElseIsAskedNoMore) {
  const UniqueFd server = Listen("a");
  answer_ = &AnswerWithSomethingElse;
  Do([this] { relay_->Add(shim_, kContainer, {Host("a")}); });
  ASSERT_TRUE(WaitFor([this] { return calls_ == 1; }));
  ::usleep(50'000);
  EXPECT_EQ(calls_, 1u);
  EXPECT_EQ(Carried(), 0u);
  pollfd none{server.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&none, 1, 0), 0);
}

}  // namespace
}  // namespace kata::virtcontainers
