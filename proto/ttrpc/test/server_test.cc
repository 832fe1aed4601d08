// SPDX-License-Identifier: Apache-2.0
// Server, ConnectUnix and the descriptor transport over real sockets and pipes.
#include <fcntl.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "proto/ttrpc/test/echo_service.h"
#include "proto/ttrpc/test/test_util.h"

namespace kata::ttrpc {
namespace {

constexpr std::chrono::seconds kLong{15};

// Listens on an abstract name of this process.
UniqueFd Listen(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::listen(fd.get(), 8), 0);
  return fd;
}

class ServerTest : public ::testing::Test {
 public:
  ServerTest() : name_(absl::StrCat("kata-ttrpc-test-", ::getpid())) {
    service_.Register(services_);
    server_ = Server::Start(io_.get_executor(), Listen(name_), &services_);
  }
  std::shared_ptr<Connection> Connect() {
    auto fd = ConnectUnix(name_);
    EXPECT_TRUE(fd.ok()) << fd.status();
    return Connection::Start(io_.get_executor(), MakeFdTransport(io_.get_executor(), *std::move(fd)), nullptr);
  }

  asio::io_context io_{1};
  EchoServiceFake service_;
  ServiceMap services_;
  std::string name_;
  std::shared_ptr<Server> server_;
};

Co<absl::Status> Say(std::shared_ptr<Connection> client, uint32_t delay_ms, absl::Status* result) {
  test::EchoClient echo(client);
  test::EchoRequest request;
  request.set_delay_ms(delay_ms);
  auto reply = co_await echo.Say(std::move(request), kLong);
  *result = reply.status();
  co_return absl::OkStatus();
}

Co<absl::Status> SayLate(std::shared_ptr<Connection> client) {
  absl::Status lost;
  co_return co_await Say(std::move(client), 4'000, &lost);
}

TEST_F(ServerTest, StopFinishesRunningCallsAndClosesEveryConnection) {
  struct Test {
    static Co<void> Run(ServerTest& fixture) {
      auto busy = fixture.Connect();
      auto idle = fixture.Connect();
      absl::Status busy_result = absl::UnknownError("not done");
      absl::Status idle_result = absl::UnknownError("not done");
      static_cast<void>(co_await Say(idle, 0, &idle_result));
      EXPECT_TRUE(idle_result.ok()) << idle_result;
      Spawn(fixture.io_.get_executor(), "busy call", Say(busy, 50, &busy_result));
      co_await Sleep(std::chrono::milliseconds(10));
      co_await fixture.server_->Stop(kLong);
      absl::Status busy_end = co_await busy->WaitClosed();
      absl::Status idle_end = co_await idle->WaitClosed();
      EXPECT_TRUE(busy_result.ok()) << busy_result;
      EXPECT_TRUE(absl::IsUnavailable(busy_end)) << busy_end;
      EXPECT_TRUE(absl::IsUnavailable(idle_end)) << idle_end;
      EXPECT_FALSE(ConnectUnix(fixture.name_).ok());
    }
  };
  RunCo(io_, Test::Run(*this));
}

TEST_F(ServerTest, StopThatLingersWaitsForItsPeersToClose) {
  struct Test {
    static Co<absl::Status> CloseSoon(std::shared_ptr<Connection> client) {
      co_await Sleep(std::chrono::milliseconds(50));
      EXPECT_FALSE(client->is_closed());
      client->Close(absl::CancelledError("has its answer"));
      co_return absl::OkStatus();
    }
    static Co<void> Run(ServerTest& fixture) {
      auto client = fixture.Connect();
      absl::Status result = absl::UnknownError("not done");
      static_cast<void>(co_await Say(client, 0, &result));
      EXPECT_TRUE(result.ok()) << result;
      Spawn(fixture.io_.get_executor(), "closing soon", CloseSoon(client));
      co_await fixture.server_->Stop(kLong, kLong);
      EXPECT_TRUE(client->is_closed());

      EXPECT_FALSE(ConnectUnix(fixture.name_).ok());
    }
    static Co<void> RunAlone(ServerTest& fixture) {
      auto client = fixture.Connect();
      absl::Status result = absl::UnknownError("not done");
      static_cast<void>(co_await Say(client, 0, &result));
      co_await fixture.server_->Stop(kLong, std::chrono::milliseconds(20));
      absl::Status end = co_await client->WaitClosed();
      EXPECT_TRUE(absl::IsUnavailable(end)) << end;
    }
  };
  RunCo(io_, Test::Run(*this));
  server_ = Server::Start(io_.get_executor(), Listen(name_), &services_);
  io_.restart();
  RunCo(io_, Test::RunAlone(*this));
}

constexpr size_t kMoreThanTheLimit = 300;

// As containerd's, whose Wait is pending when it is restarted.
TEST_F(ServerTest, ClosedConnectionsWithRunningCallsDoNotCount) {
  struct Test {
    static Co<void> Run(ServerTest& fixture) {
      for (size_t i = 0; i < kMoreThanTheLimit; ++i) {
        auto client = fixture.Connect();
        absl::Status ready = absl::UnknownError("not done");
        static_cast<void>(co_await Say(client, 0, &ready));
        EXPECT_TRUE(ready.ok()) << "connection " << i << ": " << ready;
        if (!ready.ok()) co_return;
        Spawn(fixture.io_.get_executor(), "waiting call", SayLate(client));
        co_await Sleep(std::chrono::milliseconds(1));
        client->Close(absl::CancelledError("the client was restarted"));
        static_cast<void>(co_await client->WaitClosed());
      }
      co_await fixture.server_->Stop(kLong);
    }
  };
  RunCo(io_, Test::Run(*this));
}

TEST_F(ServerTest, DestroyingTheContextWithRunningCallsReleasesThem) {
  absl::Status result = absl::UnknownError("not done");
  std::weak_ptr<Connection> weak;
  {
    asio::io_context io{1};
    auto server = Server::Start(io.get_executor(), Listen(name_ + "-other"), &services_);
    auto fd = ConnectUnix(name_ + "-other");
    ASSERT_TRUE(fd.ok()) << fd.status();
    auto client = Connection::Start(io.get_executor(), MakeFdTransport(io.get_executor(), *std::move(fd)), nullptr);
    weak = client;
    Spawn(io.get_executor(), "call", Say(client, 10'000, &result));
    io.run_for(std::chrono::milliseconds(50));
    client.reset();
    server.reset();
    EXPECT_FALSE(weak.expired());
  }
  EXPECT_TRUE(weak.expired());
}

TEST(FdTransport, ReportsTheEndOfAPipeAsUnavailable) {
  struct Test {
    static Co<void> Run(std::unique_ptr<Transport> transport) {
      char buffer[8];
      auto size = co_await transport->ReadSome(std::span<char>(buffer));
      EXPECT_TRUE(size.ok()) << size.status();
      EXPECT_EQ(std::string_view(buffer, size.value_or(0)), "ab");
      auto end = co_await transport->ReadSome(std::span<char>(buffer));
      EXPECT_TRUE(absl::IsUnavailable(end.status())) << end.status();
    }
  };
  int fds[2];
  ASSERT_EQ(::pipe2(fds, O_CLOEXEC), 0);
  ASSERT_EQ(::write(fds[1], "ab", 2), 2);
  ::close(fds[1]);
  asio::io_context io{1};
  RunCo(io, Test::Run(MakeFdTransport(io.get_executor(), UniqueFd(fds[0]))));
}

TEST(FdTransport, WritingToAClosedPeerIsUnavailableAndRaisesNoSignal) {
  struct Test {
    static Co<void> Run(std::unique_ptr<Transport> transport) {
      absl::Status status = co_await transport->WriteAll("x");
      EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    }
  };
  auto [ours, theirs] = MakeSocketPair();
  theirs.reset();
  asio::io_context io{1};
  RunCo(io, Test::Run(MakeFdTransport(io.get_executor(), std::move(ours))));
}

TEST(ConnectUnix, NamesAMissingSocket) {
  auto fd = ConnectUnix("/nonexistent/socket");

  EXPECT_TRUE(absl::IsNotFound(fd.status())) << fd.status();
  EXPECT_EQ(fd.status().message(), "connecting to \"/nonexistent/socket\": no such file or directory");
}

}  // namespace
}  // namespace kata::ttrpc
