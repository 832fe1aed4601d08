// SPDX-License-Identifier: Apache-2.0
// Ports that are forwarded, from a client in a pod's network namespace on the host to a server in another that plays
// the guest's: the host's and the agent's code, the kernel's lookup and a connection of the protocol between. Needs
// root.
#include "virtcontainers/network/port_forward.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
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

#include "agent/network/dial.h"
#include "proto/base/stdio_limits.h"
#include "proto/schema/agent.ttrpc.h"
#include "proto/ttrpc/transport.h"
#include "proto/tunnel/tunnel.h"

namespace kata::virtcontainers {
namespace {

using agent::v1::TunnelMessage;

constexpr uint16_t kPort = 8080;
constexpr std::chrono::seconds kPatience{30};
constexpr size_t kLongText = 4u << 20;
constexpr char kAgent[] = "kata.agent.v1.Agent";

struct Address {
  explicit Address(const char* text, uint16_t port) {
    if (::inet_pton(AF_INET, text, &ipv4.sin_addr) == 1) {
      ipv4.sin_family = AF_INET;
      ipv4.sin_port = htons(port);
      size = sizeof(ipv4);
    } else {
      EXPECT_EQ(::inet_pton(AF_INET6, text, &ipv6.sin6_addr), 1);
      ipv6.sin6_family = AF_INET6;
      ipv6.sin6_port = htons(port);
      size = sizeof(ipv6);
    }
  }
  union {
    sockaddr any;
    sockaddr_in ipv4;
    sockaddr_in6 ipv6{};
  };
  socklen_t size = 0;
};

std::string MakeText(size_t size, unsigned seed) {
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>((seed = seed * 1103515245 + 12345) >> 16);
  return text;
}

void SetPatience(int fd) {
  const timeval patience{kPatience.count(), 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

// What has come up to the end; `error` is why there is no more, 0 at a proper end.
std::string ReadAll(int fd, int* error) {
  std::string text;
  std::vector<char> buffer(1u << 16);
  for (;;) {
    const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
    *error = n < 0 ? errno : 0;
    if (n <= 0) return text;
    text.append(buffer.data(), static_cast<size_t>(n));
  }
}

void WriteText(int fd, const std::string& text) {
  size_t at = 0;
  while (at < text.size()) {
    const ssize_t n = ::send(fd, text.data() + at, text.size() - at, MSG_NOSIGNAL);
    if (n <= 0) return;
    at += static_cast<size_t>(n);
  }
}

class PortForwardTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "not root";
    for (auto* place : {&host_, &guest_}) {
      auto made = NetworkNamespace::Open("");
      ASSERT_TRUE(made.ok()) << made.status();
      *place = *made;
    }
    services_.AddStream(kAgent, "Dial", [this](ttrpc::CallContext, std::shared_ptr<ttrpc::Stream> stream) {
      return answer_(io_.get_executor(), std::make_shared<TunnelStream>(std::move(stream)));
    });
    thread_ = std::thread([this] {
      EXPECT_EQ(::setns(guest_->fd(), CLONE_NEWNET), 0);
      io_.run();
    });
    Do([this] {
      int ends[2] = {-1, -1};
      EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
      const auto executor = io_.get_executor();
      agent_ = ttrpc::Connection::Start(executor, ttrpc::MakeFdTransport(executor, UniqueFd(ends[0])), &services_);
      shim_ = ttrpc::Connection::Start(executor, ttrpc::MakeFdTransport(executor, UniqueFd(ends[1])), nullptr);
      forward_ = std::make_shared<PortForward>(executor);
    });
    std::promise<absl::Status> started;
    Do([this, &started] { Spawn(io_.get_executor(), "starting", Start(this, &started)); });
    const absl::Status status = started.get_future().get();
    ASSERT_TRUE(status.ok()) << status;
  }

  void TearDown() override {
    if (!thread_.joinable()) return;
    Do([this] {
      forward_->Stop();
      shim_->Close(absl::CancelledError("test over"));
      agent_->Close(absl::CancelledError("test over"));
    });
    work_.reset();
    thread_.join();
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

  static Co<absl::Status> Start(PortForwardTest* test, std::promise<absl::Status>* started) {
    absl::Status status = co_await test->forward_->Start(test->pool_, test->host_, test->shim_);
    started->set_value(status);
    co_return absl::OkStatus();
  }

  static Co<absl::Status> AnswerByDialling(asio::any_io_executor executor, std::shared_ptr<TunnelStream> stream) {
    auto first = co_await stream->Receive();
    if (!first.ok()) co_return first.status();
    auto socket = co_await agent::DialLoopback(executor, first->open());
    if (!socket.ok()) co_return socket.status();
    co_return co_await RunTunnel(*socket, stream, TunnelSide::kAnswerer);
  }
  // A guest that sends more than it may.
  static Co<absl::Status> AnswerByFlooding(asio::any_io_executor, std::shared_ptr<TunnelStream> stream) {
    TunnelMessage message;
    message.set_data(std::string(kStdioChunkMax, 'x'));
    for (int i = 0; i < 4096; ++i) {
      absl::Status sent = co_await stream->Send(message);
      if (!sent.ok()) co_return absl::OkStatus();
    }
    co_return absl::OkStatus();
  }

  static UniqueFd Listen(const NetworkNamespace& place, const char* address, uint16_t port) {
    UniqueFd fd;
    const absl::Status status = place.Run([&]() -> absl::Status {
      const Address at(address, port);
      fd.reset(::socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const bool is_open = ::bind(fd.get(), &at.any, at.size) == 0 && ::listen(fd.get(), 512) == 0;
      return is_open ? absl::OkStatus() : absl::UnknownError("no listener");
    });
    EXPECT_TRUE(status.ok()) << status;
    SetPatience(fd.get());
    return fd;
  }

  UniqueFd Connect(const char* address, uint16_t port, int* error) const {
    UniqueFd fd;
    const absl::Status ignored = host_->Run([&]() -> absl::Status {
      const Address at(address, port);
      fd.reset(::socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
      SetPatience(fd.get());
      *error = ::connect(fd.get(), &at.any, at.size) == 0 ? 0 : errno;
      return absl::OkStatus();
    });
    return fd;
  }
  UniqueFd Connect(const char* address = "127.0.0.1", uint16_t port = kPort) const {
    int error = 0;
    UniqueFd fd = Connect(address, port, &error);
    EXPECT_EQ(error, 0) << "connecting to " << address;
    return fd;
  }

  std::function<Co<absl::Status>(asio::any_io_executor, std::shared_ptr<TunnelStream>)> answer_ = &AnswerByDialling;
  std::shared_ptr<const NetworkNamespace> host_;
  std::shared_ptr<const NetworkNamespace> guest_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  asio::thread_pool pool_{2};
  ttrpc::ServiceMap services_;
  std::shared_ptr<ttrpc::Connection> agent_;
  std::shared_ptr<ttrpc::Connection> shim_;
  std::shared_ptr<PortForward> forward_;
  std::thread thread_;
};

TEST_F(PortForwardTest, EachDirectionEndsByItself) {
  const UniqueFd listener = Listen(*guest_, "127.0.0.1", kPort);
  const std::string question = MakeText(kLongText, 1);
  const std::string answer = MakeText(kLongText, 2);
  auto server = std::async(std::launch::async, [&] {
    const UniqueFd connection(::accept(listener.get(), nullptr, nullptr));
    SetPatience(connection.get());
    int error = 0;
    const std::string text = ReadAll(connection.get(), &error);
    WriteText(connection.get(), answer);
    return text;
  });
  const UniqueFd client = Connect();
  WriteText(client.get(), question);
  ::shutdown(client.get(), SHUT_WR);
  int error = 0;
  EXPECT_TRUE(ReadAll(client.get(), &error) == answer);
  EXPECT_EQ(error, 0);
  EXPECT_TRUE(server.get() == question);
}

TEST_F(PortForwardTest, AServerThatEndsFirstGetsAllTheSame) {
  const UniqueFd listener = Listen(*guest_, "127.0.0.1", kPort);
  const std::string question = MakeText(kLongText, 3);
  auto server = std::async(std::launch::async, [&] {
    const UniqueFd connection(::accept(listener.get(), nullptr, nullptr));
    SetPatience(connection.get());
    ::shutdown(connection.get(), SHUT_WR);
    int error = 0;
    return ReadAll(connection.get(), &error);
  });
  const UniqueFd client = Connect();
  int error = 0;
  EXPECT_EQ(ReadAll(client.get(), &error), "");
  EXPECT_EQ(error, 0);
  WriteText(client.get(), question);
  ::shutdown(client.get(), SHUT_WR);
  EXPECT_TRUE(server.get() == question);
}

TEST_F(PortForwardTest, EitherFamilyReachesEither) {
  for (const char* server : {"127.0.0.1", "::1"}) {
    const UniqueFd listener = Listen(*guest_, server, kPort);
    for (const char* dialled : {"127.0.0.1", "::1"}) {
      const UniqueFd client = Connect(dialled);
      const UniqueFd connection(::accept(listener.get(), nullptr, nullptr));
      ASSERT_TRUE(connection.valid()) << dialled << " to " << server;
      WriteText(connection.get(), "hello");
      ::shutdown(connection.get(), SHUT_WR);
      int error = 0;
      EXPECT_EQ(ReadAll(client.get(), &error), "hello") << dialled << " to " << server;
    }
  }
}

TEST_F(PortForwardTest, APortThatNobodyListensAtIsReset) {
  const UniqueFd client = Connect();
  int error = 0;
  EXPECT_EQ(ReadAll(client.get(), &error), "");
  EXPECT_EQ(error, ECONNRESET);
}

TEST_F(PortForwardTest, AResetReachesTheOtherEnd) {
  const UniqueFd listener = Listen(*guest_, "127.0.0.1", kPort);
  const linger hard{1, 0};
  int error = 0;
  {
    const UniqueFd client = Connect();
    UniqueFd connection(::accept(listener.get(), nullptr, nullptr));
    ::setsockopt(connection.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    connection.reset();
    ReadAll(client.get(), &error);
    EXPECT_EQ(error, ECONNRESET);
  }
  UniqueFd client = Connect();
  const UniqueFd connection(::accept(listener.get(), nullptr, nullptr));
  SetPatience(connection.get());
  ::setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  client.reset();
  ReadAll(connection.get(), &error);
  EXPECT_EQ(error, ECONNRESET);
}

TEST_F(PortForwardTest, MoreConnectionsThanAreCarriedWaitForTheirTurn) {
  const UniqueFd listener = Listen(*guest_, "127.0.0.1", kPort);
  constexpr size_t kClients = kForwardedMax + kLocalhostBacklog / 2;
  std::vector<UniqueFd> clients;
  for (size_t i = 0; i < kClients; ++i) clients.push_back(Connect());
  auto server = std::async(std::launch::async, [&] {
    for (size_t i = 0; i < kClients; ++i) {
      const UniqueFd connection(::accept(listener.get(), nullptr, nullptr));
      SetPatience(connection.get());
      char byte = 0;
      if (::recv(connection.get(), &byte, 1, 0) != 1) return i;
      WriteText(connection.get(), std::string(1, byte));
    }
    return kClients;
  });
  for (size_t i = 0; i < kClients; ++i) {
    const std::string word(1, static_cast<char>(i));
    WriteText(clients[i].get(), word);
    int error = 0;
    ASSERT_EQ(ReadAll(clients[i].get(), &error), word) << "of client " << i;
    clients[i].reset();  // which makes room for one more
  }
  EXPECT_EQ(server.get(), kClients);
}

TEST_F(PortForwardTest, OtherAddressesAreNotTaken) {
  const UniqueFd listener = Listen(*host_, "127.0.0.2", kPort);
  const UniqueFd client = Connect("127.0.0.2");
  const UniqueFd connection(::accept(listener.get(), nullptr, nullptr));
  ASSERT_TRUE(connection.valid());
  WriteText(connection.get(), "own");
  ::shutdown(connection.get(), SHUT_WR);
  int error = 0;
  EXPECT_EQ(ReadAll(client.get(), &error), "own");
}

TEST_F(PortForwardTest, TheLoopbackIsGivenBack) {
  int error = 0;
  Do([this] { forward_->Stop(); });
  const UniqueFd refused = Connect("127.0.0.1", kPort, &error);
  EXPECT_EQ(error, ECONNREFUSED);
  const UniqueFd listener = Listen(*host_, "127.0.0.1", kPort);
  const UniqueFd client = Connect();
  EXPECT_TRUE(UniqueFd(::accept(listener.get(), nullptr, nullptr)).valid());
}

TEST_F(PortForwardTest, AGuestThatFloodsIsCutOff) {
  answer_ = &AnswerByFlooding;
  const UniqueFd client = Connect();
  // It reads nothing: what has come beyond the credit would have to be kept.
  pollfd ended{client.get(), POLLRDHUP, 0};
  ASSERT_EQ(::poll(&ended, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())), 1);
  int error = 0;
  const std::string text = ReadAll(client.get(), &error);
  EXPECT_EQ(error, ECONNRESET);
  EXPECT_LT(text.size(), 8u << 20);
}

}  // namespace
}  // namespace kata::virtcontainers
