// SPDX-License-Identifier: Apache-2.0
// Streaming calls: both roles together through generated code, and the server's frames against raw
// ones.
#include "proto/ttrpc/test/echo_service.h"
#include "proto/ttrpc/test/test_util.h"

namespace kata::ttrpc {
namespace {

using test::EchoClient;
using test::EchoReply;
using test::EchoRequest;

constexpr char kEcho[] = "kata.test.Echo";

EchoRequest MakeRequest(std::string text, int code = 0) {
  EchoRequest request;
  request.set_text(std::move(text));
  request.set_code(code);
  return request;
}

class StreamTest : public ::testing::Test {
 public:
  StreamTest() { service_.Register(services_); }

  UniqueFd StartServer() {
    auto [ours, theirs] = MakeSocketPair();
    server_ = Connection::Start(io_.get_executor(), MakeFdTransport(io_.get_executor(), std::move(ours)), &services_);
    return std::move(theirs);
  }
  void RunRaw(Co<void> (*test)(RawPeer&, StreamTest&)) {
    RawPeer peer(io_.get_executor(), StartServer());
    RunCo(io_, RawThenClose(test, peer, *this));
  }
  void RunClient(Co<void> (*test)(std::shared_ptr<Connection>, StreamTest&)) {
    auto client = Connection::Start(io_.get_executor(), MakeFdTransport(io_.get_executor(), StartServer()), nullptr);
    RunCo(io_, ClientThenClose(test, std::move(client), *this));
  }
  static Co<void> RawThenClose(Co<void> (*test)(RawPeer&, StreamTest&), RawPeer& peer, StreamTest& fixture) {
    co_await test(peer, fixture);
    peer.Close();
  }
  static Co<void> ClientThenClose(Co<void> (*test)(std::shared_ptr<Connection>, StreamTest&),
                                  std::shared_ptr<Connection> client, StreamTest& fixture) {
    co_await test(client, fixture);
    client->Close(absl::CancelledError("test over"));
  }
  static Co<void> ExpectData(RawPeer& peer, uint32_t id, uint8_t flags, std::string text) {
    std::optional<Frame> frame = co_await peer.Read();
    EXPECT_TRUE(frame.has_value());
    if (!frame) co_return;
    EXPECT_EQ(frame->type, kTypeData);
    EXPECT_EQ(frame->stream_id, id);
    EXPECT_EQ(frame->flags, flags);
    EchoReply reply;
    EXPECT_TRUE(reply.ParseFromString(frame->data));
    EXPECT_EQ(reply.text(), text);
  }

  asio::io_context io_{1};
  EchoServiceFake service_;
  ServiceMap services_;
  std::shared_ptr<Connection> server_;
};

TEST_F(StreamTest, CarriesMessagesBothWaysUntilTheClientCloses) {
  RunClient([](std::shared_ptr<Connection> client, StreamTest&) -> Co<void> {
    EchoClient echo(client);
    auto opened = co_await echo.Chat();
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (!opened.ok()) co_return;
    auto stream = *opened;
    for (int i = 0; i < 20; ++i) {
      EchoRequest request = MakeRequest(absl::StrCat("message ", i));
      absl::Status sent = co_await stream->Send(std::move(request));
      EXPECT_TRUE(sent.ok()) << sent;
      auto reply = co_await stream->Receive();
      EXPECT_TRUE(reply.ok()) << reply.status();
      if (reply.ok()) EXPECT_EQ(reply->text(), absl::StrCat("message ", i));
    }
    absl::Status closed = co_await stream->CloseSend();
    EXPECT_TRUE(closed.ok()) << closed;
    auto end = co_await stream->Receive();
    EXPECT_TRUE(absl::IsOutOfRange(end.status())) << end.status();
    absl::Status after = co_await stream->Send(MakeRequest("x"));
    EXPECT_TRUE(absl::IsUnavailable(after)) << after;
  });
}

TEST_F(StreamTest, CarriesEmptyMessages) {
  RunClient([](std::shared_ptr<Connection> client, StreamTest&) -> Co<void> {
    EchoClient echo(client);
    auto stream = co_await echo.Chat();
    absl::Status sent = co_await (*stream)->Send(EchoRequest());
    EXPECT_TRUE(sent.ok()) << sent;
    auto reply = co_await (*stream)->Receive();
    EXPECT_TRUE(reply.ok()) << reply.status();
  });
}

TEST_F(StreamTest, EndsWithTheHandlersStatus) {
  RunClient([](std::shared_ptr<Connection> client, StreamTest&) -> Co<void> {
    EchoClient echo(client);
    auto stream = co_await echo.Chat();
    absl::Status sent = co_await (*stream)->Send(MakeRequest("enough", 9));
    EXPECT_TRUE(sent.ok()) << sent;
    auto end = co_await (*stream)->Receive();
    EXPECT_EQ(end.status(), absl::FailedPreconditionError("enough"));
  });
}

TEST_F(StreamTest, DeliversEveryMessageBeforeTheEnd) {
  RunClient([](std::shared_ptr<Connection> client, StreamTest&) -> Co<void> {
    EchoClient echo(client);
    auto stream = co_await echo.Count();
    absl::Status sent = co_await (*stream)->Send(MakeRequest("abc"));
    EXPECT_TRUE(sent.ok()) << sent;
    std::string all;
    auto message = co_await (*stream)->Receive();
    while (message.ok()) {
      all += message->data();
      message = co_await (*stream)->Receive();
    }
    EXPECT_EQ(all, "abc");
    EXPECT_TRUE(absl::IsOutOfRange(message.status())) << message.status();
  });
}

TEST_F(StreamTest, DroppingTheClientsStreamEndsTheHandler) {
  RunClient([](std::shared_ptr<Connection> client, StreamTest& fixture) -> Co<void> {
    EchoClient echo(client);
    {
      auto stream = co_await echo.Chat();
      EXPECT_TRUE(stream.ok()) << stream.status();
    }
    while (fixture.service_.chat_end.ok()) co_await Sleep(std::chrono::milliseconds(2));
    EXPECT_TRUE(absl::IsOutOfRange(fixture.service_.chat_end)) << fixture.service_.chat_end;
  });
}

TEST_F(StreamTest, ClosingTheConnectionEndsTheStreamOnBothSides) {
  RunClient([](std::shared_ptr<Connection> client, StreamTest& fixture) -> Co<void> {
    EchoClient echo(client);
    auto stream = co_await echo.Chat();
    co_await Sleep(std::chrono::milliseconds(10));
    fixture.server_->Close(absl::UnavailableError("gone"));
    auto end = co_await (*stream)->Receive();
    EXPECT_TRUE(absl::IsUnavailable(end.status())) << end.status();
    while (fixture.service_.chat_end.ok()) co_await Sleep(std::chrono::milliseconds(2));
    EXPECT_TRUE(absl::IsUnavailable(fixture.service_.chat_end)) << fixture.service_.chat_end;
  });
}

constexpr size_t kFloodCount = 40;

Co<absl::Status> Flood(CallContext, std::shared_ptr<Stream> stream) {
  for (size_t i = 0; i < kFloodCount; ++i) {
    absl::Status status = co_await stream->Send(std::string(1u << 20, 'f'));
    if (!status.ok()) co_return status;
  }
  co_return absl::OkStatus();
}

TEST_F(StreamTest, SendWaitsWhileTheSendQueueIsFull) {
  services_.AddStream("kata.test.Raw", "Flood", Flood);
  RunRaw([](RawPeer& peer, StreamTest&) -> Co<void> {
    co_await peer.Request(1, "kata.test.Raw", "Flood", std::string(), kFlagRemoteOpen, 0);
    co_await peer.Request(3, "kata.test.Raw", "Flood", std::string(), kFlagRemoteOpen, 0);
    co_await Sleep(std::chrono::milliseconds(50));
    size_t bytes = 0;
    for (int ended = 0; ended < 2;) {
      std::optional<Frame> frame = co_await peer.Read();
      EXPECT_TRUE(frame.has_value());
      if (!frame) break;
      bytes += frame->data.size();
      if (frame->flags == (kFlagRemoteClosed | kFlagNoData)) ++ended;
    }
    EXPECT_EQ(bytes, 2 * kFloodCount << 20);
  });
}

TEST_F(StreamTest, ServerEndsACleanStreamWithAClosingFrame) {
  RunRaw([](RawPeer& peer, StreamTest&) -> Co<void> {
    std::string first = MakeRequest("first").SerializeAsString();
    co_await peer.Request(1, kEcho, "Chat", std::move(first), kFlagRemoteOpen, 0);
    co_await ExpectData(peer, 1, 0, "first");
    co_await peer.Write(EncodeFrame(1, kTypeData, 0, MakeRequest("second").SerializeAsString()));
    co_await ExpectData(peer, 1, 0, "second");
    co_await peer.Write(EncodeFrame(1, kTypeData, kFlagRemoteClosed | kFlagNoData, ""));
    co_await ExpectData(peer, 1, kFlagRemoteClosed | kFlagNoData, "");
  });
}

TEST_F(StreamTest, RequestThatClosesCarriesTheOnlyMessage) {
  RunRaw([](RawPeer& peer, StreamTest&) -> Co<void> {
    std::string only = MakeRequest("only").SerializeAsString();
    co_await peer.Request(1, kEcho, "Chat", std::move(only), kFlagRemoteClosed, 0);
    co_await ExpectData(peer, 1, 0, "only");
    co_await ExpectData(peer, 1, kFlagRemoteClosed | kFlagNoData, "");
  });
}

TEST_F(StreamTest, EmptyPayloadOfAnOpenRequestIsNoMessage) {
  RunRaw([](RawPeer& peer, StreamTest&) -> Co<void> {
    co_await peer.Request(1, kEcho, "Chat", std::string(), kFlagRemoteOpen, 0);
    co_await peer.Write(EncodeFrame(1, kTypeData, kFlagRemoteClosed | kFlagNoData, ""));
    co_await ExpectData(peer, 1, kFlagRemoteClosed | kFlagNoData, "");
  });
}

TEST_F(StreamTest, RefusesDataInAClosingFrame) {
  RunRaw([](RawPeer& peer, StreamTest&) -> Co<void> {
    co_await peer.Request(1, kEcho, "Chat", std::string(), kFlagRemoteOpen, 0);
    co_await peer.Write(EncodeFrame(1, kTypeData, kFlagRemoteClosed, "x"));
    absl::Status status = co_await peer.ReadAnswer(1);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  });
}

TEST_F(StreamTest, OversizedDataBreaksOnlyItsStream) {
  RunRaw([](RawPeer& peer, StreamTest&) -> Co<void> {
    co_await peer.Request(1, kEcho, "Chat", std::string(), kFlagRemoteOpen, 0);
    co_await peer.Request(3, kEcho, "Chat", std::string(), kFlagRemoteOpen, 0);
    co_await peer.Write(EncodeFrame(1, kTypeData, 0, std::string(kFrameDataMax + 1, 'x')));
    absl::Status status = co_await peer.ReadAnswer(1);
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    co_await peer.Write(EncodeFrame(3, kTypeData, 0, MakeRequest("fine").SerializeAsString()));
    co_await ExpectData(peer, 3, 0, "fine");
  });
}

TEST_F(StreamTest, DeadlineEndsTheStream) {
  RunRaw([](RawPeer& peer, StreamTest& fixture) -> Co<void> {
    co_await peer.Request(1, kEcho, "Chat", std::string(), kFlagRemoteOpen, 20'000'000);
    absl::Status status = co_await peer.ReadAnswer(1);
    EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
    while (fixture.service_.chat_end.ok()) co_await Sleep(std::chrono::milliseconds(2));
    EXPECT_TRUE(absl::IsDeadlineExceeded(fixture.service_.chat_end)) << fixture.service_.chat_end;
  });
}

}  // namespace
}  // namespace kata::ttrpc
