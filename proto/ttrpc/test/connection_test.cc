// SPDX-License-Identifier: Apache-2.0
// Unary calls: both roles against each other through generated code, and each role against raw
// frames.
#include "proto/ttrpc/connection.h"

#include <stdexcept>

#include "proto/ttrpc/test/echo_service.h"
#include "proto/ttrpc/test/test_util.h"

namespace kata::ttrpc {
namespace {

using test::EchoClient;
using test::EchoReply;
using test::EchoRequest;

constexpr char kEcho[] = "kata.test.Echo";
constexpr std::chrono::seconds kLong{15};

EchoRequest MakeRequest(std::string text, uint32_t delay_ms = 0, int code = 0) {
  EchoRequest request;
  request.set_text(std::move(text));
  request.set_delay_ms(delay_ms);
  request.set_code(code);
  return request;
}

class ConnectionTest : public ::testing::Test {
 public:
  ConnectionTest() {
    service_.Register(services_);
    services_.AddUnary("kata.test.Raw", "Throw", Throw);
    services_.AddUnary("kata.test.Raw", "Big", Big);
  }

  static Co<absl::StatusOr<std::string>> Throw(CallContext, std::string) {
    throw std::runtime_error("boom");
    co_return "";
  }
  static Co<absl::StatusOr<std::string>> Mib(CallContext, std::string) { co_return std::string(1u << 20, 'm'); }
  static Co<absl::StatusOr<std::string>> Big(CallContext, std::string) { co_return std::string(kFrameDataMax, 'b'); }

  // A server under test on one end; the other end is the test's.
  UniqueFd StartServer() {
    auto [ours, theirs] = MakeSocketPair();
    server_ = Connection::Start(io_.get_executor(), MakeFdTransport(io_.get_executor(), std::move(ours)), &services_);
    return std::move(theirs);
  }
  std::shared_ptr<Connection> StartClient(UniqueFd fd) {
    return Connection::Start(io_.get_executor(), MakeFdTransport(io_.get_executor(), std::move(fd)), nullptr);
  }
  // Runs a test that talks raw frames to the server.
  void RunRaw(Co<void> (*test)(RawPeer&, ConnectionTest&)) {
    RawPeer peer(io_.get_executor(), StartServer());
    RunCo(io_, RawThenClose(test, peer, *this));
  }
  void RunClient(Co<void> (*test)(std::shared_ptr<Connection>, ConnectionTest&)) {
    RunCo(io_, ClientThenClose(test, StartClient(StartServer()), *this));
  }
  static Co<void> RawThenClose(Co<void> (*test)(RawPeer&, ConnectionTest&), RawPeer& peer, ConnectionTest& fixture) {
    co_await test(peer, fixture);
    peer.Close();
  }
  static Co<void> ClientThenClose(Co<void> (*test)(std::shared_ptr<Connection>, ConnectionTest&),
                                  std::shared_ptr<Connection> client, ConnectionTest& fixture) {
    co_await test(client, fixture);
    client->Close(absl::CancelledError("test over"));
  }
  // The connection still serves: a call on stream `id` is answered.
  static Co<void> ExpectAlive(RawPeer& peer, uint32_t id) {
    std::string payload = MakeRequest("alive").SerializeAsString();
    co_await peer.Request(id, kEcho, "Say", std::move(payload), 0, 0);
    absl::Status status = co_await peer.ReadAnswer(id);
    EXPECT_TRUE(status.ok()) << status;
    EchoReply reply;
    EXPECT_TRUE(reply.ParseFromString(peer.payload));
    EXPECT_EQ(reply.text(), "alive");
  }

  asio::io_context io_{1};
  EchoServiceFake service_;
  ServiceMap services_;
  std::shared_ptr<Connection> server_;
};

TEST_F(ConnectionTest, AnswersACall) {
  RunClient([](std::shared_ptr<Connection> client, ConnectionTest&) -> Co<void> {
    EchoClient echo(client);
    EchoRequest request = MakeRequest("hello");
    auto reply = co_await echo.Say(std::move(request), kLong);
    EXPECT_TRUE(reply.ok()) << reply.status();
    if (reply.ok()) EXPECT_EQ(reply->text(), "hello");
  });
}

TEST_F(ConnectionTest, CarriesAStatus) {
  RunClient([](std::shared_ptr<Connection> client, ConnectionTest&) -> Co<void> {
    EchoClient echo(client);
    EchoRequest request = MakeRequest("no such thing", 0, 5);
    auto reply = co_await echo.Say(std::move(request), kLong);
    EXPECT_EQ(reply.status(), absl::NotFoundError("no such thing"));
  });
}

TEST_F(ConnectionTest, CarriesMetadataAndTimeout) {
  RunClient([](std::shared_ptr<Connection> client, ConnectionTest& fixture) -> Co<void> {
    EchoClient echo(client);
    Metadata metadata;
    metadata.emplace("containerd-namespace-ttrpc", "k8s.io");
    EchoRequest request = MakeRequest("x");
    auto reply = co_await echo.Say(std::move(request), kLong, std::move(metadata));
    EXPECT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(fixture.service_.last_context.metadata.count("containerd-namespace-ttrpc"), 1u);
    EXPECT_EQ(fixture.service_.last_context.timeout, kLong);
  });
}

Co<absl::Status> SayLater(std::shared_ptr<Connection> client, int i, int* done) {
  EchoClient echo(client);
  const std::string text = absl::StrCat("call ", i);
  EchoRequest request = MakeRequest(text, static_cast<uint32_t>(100 - i) / 10);
  auto reply = co_await echo.Say(std::move(request), kLong);
  EXPECT_TRUE(reply.ok()) << reply.status();
  if (reply.ok()) EXPECT_EQ(reply->text(), text);
  ++*done;
  co_return absl::OkStatus();
}

TEST_F(ConnectionTest, RunsAHundredCallsAtOnce) {
  RunClient([](std::shared_ptr<Connection> client, ConnectionTest& fixture) -> Co<void> {
    int done = 0;
    for (int i = 0; i < 100; ++i) Spawn(fixture.io_.get_executor(), "call", SayLater(client, i, &done));
    while (done < 100) co_await Sleep(std::chrono::milliseconds(2));
    EXPECT_GT(fixture.service_.concurrent_max, 50);
  });
}

TEST_F(ConnectionTest, ClientDeadlineEndsTheCallAndTheLateAnswerIsDropped) {
  auto [ours, theirs] = MakeSocketPair();
  RawPeer peer(io_.get_executor(), std::move(theirs));
  auto client = StartClient(std::move(ours));
  struct Ordered {
    static Co<void> Run(std::shared_ptr<Connection> c, RawPeer& p, asio::any_io_executor ex) {
      auto late = co_await c->Call("s", "m", "", std::chrono::milliseconds(20), Metadata());
      EXPECT_TRUE(absl::IsDeadlineExceeded(late.status())) << late.status();
      Spawn(ex, "peer", Answer(&p));
      auto next = co_await c->Call("s", "m", "", kLong, Metadata());
      EXPECT_TRUE(next.ok()) << next.status();
      if (next.ok()) EXPECT_EQ(*next, "ok");
      c->Close(absl::OkStatus());
    }
    static Co<absl::Status> Answer(RawPeer* p) {
      auto first = co_await p->Read();
      auto second = co_await p->Read();
      EXPECT_EQ(first ? first->stream_id : 0, 1u);
      EXPECT_EQ(second ? second->stream_id : 0, 3u);
      co_await p->Write(EncodeFrame(1, kTypeResponse, 0, "\x12\x04late"));
      co_await p->Write(EncodeFrame(3, kTypeResponse, 0, "\x12\x02ok"));
      co_return absl::OkStatus();
    }
  };
  RunCo(io_, Ordered::Run(client, peer, io_.get_executor()));
}

TEST_F(ConnectionTest, ServerAnswersWhenTheDeadlineHasPassed) {
  RunRaw([](RawPeer& peer, ConnectionTest&) -> Co<void> {
    std::string payload = MakeRequest("slow", 300).SerializeAsString();
    co_await peer.Request(1, kEcho, "Say", std::move(payload), 0, 20'000'000);
    absl::Status status = co_await peer.ReadAnswer(1);
    EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
    co_await ExpectAlive(peer, 3);
    co_await Sleep(std::chrono::milliseconds(350));
    // The handler has returned by now; its answer must not follow.
    co_await ExpectAlive(peer, 5);
  });
}

TEST_F(ConnectionTest, RefusesAnEvenStreamId) {
  RunRaw([](RawPeer& peer, ConnectionTest&) -> Co<void> {
    co_await peer.Request(2, kEcho, "Say", std::string(), 0, 0);
    absl::Status status = co_await peer.ReadAnswer(2);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    co_await ExpectAlive(peer, 3);
  });
}

TEST_F(ConnectionTest, RefusesAStreamIdThatDoesNotGrow) {
  RunRaw([](RawPeer& peer, ConnectionTest&) -> Co<void> {
    co_await ExpectAlive(peer, 7);
    for (uint32_t id : {7u, 5u}) {
      co_await peer.Request(id, kEcho, "Say", std::string(), 0, 0);
      absl::Status status = co_await peer.ReadAnswer(id);
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    }
    co_await ExpectAlive(peer, 9);
  });
}

TEST_F(ConnectionTest, RefusesDataForAnUnknownStream) {
  RunRaw([](RawPeer& peer, ConnectionTest&) -> Co<void> {
    co_await peer.Write(EncodeFrame(1, kTypeData, 0, "x"));
    absl::Status status = co_await peer.ReadAnswer(1);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    co_await ExpectAlive(peer, 3);
  });
}

TEST_F(ConnectionTest, RefusesARequestThatCannotBeDecoded) {
  RunRaw([](RawPeer& peer, ConnectionTest&) -> Co<void> {
    co_await peer.Write(EncodeFrame(1, kTypeRequest, 0, "\xff\xff\xff"));
    absl::Status status = co_await peer.ReadAnswer(1);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    co_await peer.Request(3, kEcho, "Say", "\xff\xff", 0, 0);
    status = co_await peer.ReadAnswer(3);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    co_await ExpectAlive(peer, 5);
  });
}

TEST_F(ConnectionTest, NamesTheUnknownServiceOrMethod) {
  RunRaw([](RawPeer& peer, ConnectionTest&) -> Co<void> {
    co_await peer.Request(1, "no.Such", "Say", std::string(), 0, 0);
    absl::Status service = co_await peer.ReadAnswer(1);
    EXPECT_EQ(service, absl::UnimplementedError("unknown service \"no.Such\""));
    co_await peer.Request(3, kEcho, "Shout", std::string(), 0, 0);
    absl::Status method = co_await peer.ReadAnswer(3);
    EXPECT_EQ(method, absl::UnimplementedError("unknown method \"Shout\" of service \"kata.test.Echo\""));
    co_await ExpectAlive(peer, 5);
  });
}

TEST_F(ConnectionTest, IgnoresUnknownFrameTypes) {
  RunRaw([](RawPeer& peer, ConnectionTest&) -> Co<void> {
    co_await peer.Write(EncodeFrame(1, 9, 0, "future"));
    co_await ExpectAlive(peer, 1);
  });
}

TEST_F(ConnectionTest, AnswersAnOversizedRequestOnItsStream) {
  RunRaw([](RawPeer& peer, ConnectionTest&) -> Co<void> {
    std::string big(kFrameDataMax + 1, 'x');
    co_await peer.Write(EncodeFrame(1, kTypeRequest, 0, big));
    absl::Status status = co_await peer.ReadAnswer(1);
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    co_await ExpectAlive(peer, 3);
  });
}

TEST_F(ConnectionTest, TurnsAnOversizedAnswerIntoAnError) {
  RunRaw([](RawPeer& peer, ConnectionTest&) -> Co<void> {
    co_await peer.Request(1, "kata.test.Raw", "Big", std::string(), 0, 0);
    absl::Status status = co_await peer.ReadAnswer(1);
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    co_await ExpectAlive(peer, 3);
  });
}

TEST_F(ConnectionTest, RefusesToSendAnOversizedRequest) {
  RunClient([](std::shared_ptr<Connection> client, ConnectionTest&) -> Co<void> {
    std::string big(kFrameDataMax, 'x');
    auto reply = co_await client->Call(kEcho, "Say", std::move(big), kLong, Metadata());
    EXPECT_TRUE(absl::IsResourceExhausted(reply.status())) << reply.status();
  });
}

TEST_F(ConnectionTest, TurnsAnExceptionIntoInternal) {
  RunClient([](std::shared_ptr<Connection> client, ConnectionTest&) -> Co<void> {
    auto reply = co_await client->Call("kata.test.Raw", "Throw", "", kLong, Metadata());
    EXPECT_TRUE(absl::IsInternal(reply.status())) << reply.status();
  });
}

TEST_F(ConnectionTest, SendsOnlyValidUtf8InAStatus) {
  services_.AddUnary("kata.test.Raw", "BadText", [](CallContext, std::string) -> Co<absl::StatusOr<std::string>> {
    co_return absl::NotFoundError("file \xff\xc3\xa9");
  });
  RunClient([](std::shared_ptr<Connection> client, ConnectionTest&) -> Co<void> {
    auto reply = co_await client->Call("kata.test.Raw", "BadText", "", kLong, Metadata());
    EXPECT_EQ(reply.status(), absl::NotFoundError("file ?\xc3\xa9"));
  });
}

Co<absl::Status> SayAndExpectUnavailable(std::shared_ptr<Connection> client, int* done) {
  auto reply = co_await client->Call(kEcho, "Say", MakeRequest("x", 100).SerializeAsString(), kLong, Metadata());
  EXPECT_TRUE(absl::IsUnavailable(reply.status())) << reply.status();
  ++*done;
  co_return absl::OkStatus();
}

TEST_F(ConnectionTest, CloseEndsAllPendingCalls) {
  RunClient([](std::shared_ptr<Connection> client, ConnectionTest& fixture) -> Co<void> {
    int done = 0;
    for (int i = 0; i < 10; ++i) Spawn(fixture.io_.get_executor(), "call", SayAndExpectUnavailable(client, &done));
    co_await Sleep(std::chrono::milliseconds(20));
    fixture.server_->Close(absl::UnavailableError("gone"));
    absl::Status reason = co_await client->WaitClosed();
    EXPECT_TRUE(absl::IsUnavailable(reason)) << reason;
    while (done < 10) co_await Sleep(std::chrono::milliseconds(2));
    auto after = co_await client->Call(kEcho, "Say", "", kLong, Metadata());
    EXPECT_TRUE(absl::IsUnavailable(after.status())) << after.status();
  });
}

TEST_F(ConnectionTest, ReleasesItselfWhenThePeerHasGone) {
  std::weak_ptr<Connection> weak;
  {
    RawPeer peer(io_.get_executor(), StartServer());
    weak = server_;
    server_.reset();
    peer.Close();
  }
  io_.run_for(kWatchdog);
  EXPECT_TRUE(weak.expired());
}

Co<absl::Status> SayAndExpectOk(std::shared_ptr<Connection> client, int* done) {
  EchoClient echo(client);
  EchoRequest request = MakeRequest("last", 60);
  auto reply = co_await echo.Say(std::move(request), kLong);
  EXPECT_TRUE(reply.ok()) << reply.status();
  ++*done;
  co_return absl::OkStatus();
}

TEST_F(ConnectionTest, ShutDownLetsRunningCallsFinishAndRefusesNewOnes) {
  RunClient([](std::shared_ptr<Connection> client, ConnectionTest& fixture) -> Co<void> {
    int done = 0;
    Spawn(fixture.io_.get_executor(), "call", SayAndExpectOk(client, &done));
    co_await Sleep(std::chrono::milliseconds(10));
    Spawn(fixture.io_.get_executor(), "new call", SayAndExpectUnavailable(client, &done));
    co_await fixture.server_->ShutDown(kLong);
    absl::Status reason = co_await client->WaitClosed();
    EXPECT_TRUE(absl::IsUnavailable(reason)) << reason;
    while (done < 2) co_await Sleep(std::chrono::milliseconds(2));
  });
}

TEST_F(ConnectionTest, ClosesWhenThePeerDoesNotReadItsAnswers) {
  RunRaw([](RawPeer& peer, ConnectionTest& fixture) -> Co<void> {
    fixture.services_.AddUnary("kata.test.Raw", "Mib", Mib);
    for (uint32_t id = 1; id < 60; id += 2) co_await peer.Request(id, "kata.test.Raw", "Mib", std::string(), 0, 0);
    absl::Status reason = co_await fixture.server_->WaitClosed();
    EXPECT_TRUE(absl::IsResourceExhausted(reason)) << reason;
  });
}

}  // namespace
}  // namespace kata::ttrpc
