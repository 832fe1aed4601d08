// SPDX-License-Identifier: Apache-2.0
// What one peer can make the other keep: unread messages of a stream, answers, and what a server
// sends to a client that did not ask.
#include <boost/asio/post.hpp>

#include "proto/ttrpc/test/test_util.h"

namespace kata::ttrpc {
namespace {

constexpr char kRaw[] = "kata.test.Raw";
constexpr std::chrono::milliseconds kPoll{2};
constexpr std::chrono::seconds kLong{15};
// More than four channels' credit of the smallest messages; the former bound was 256.
constexpr size_t kManySmall = 20'000;

// A handler that waits for `go`, then receives until the end; or sends before it.
class Peer {
 public:
  explicit Peer(asio::any_io_executor executor) : go(executor), ended(executor) {
    services.AddStream(kRaw, "Gather",
                       [this](CallContext, std::shared_ptr<Stream> stream) { return Gather(this, std::move(stream)); });
    services.AddStream(kRaw, "Flood",
                       [this](CallContext, std::shared_ptr<Stream> stream) { return Flood(this, std::move(stream)); });
    services.AddUnary(kRaw, "Big", [this](CallContext, std::string) { return Big(this); });
  }

  static Co<absl::Status> Gather(Peer* self, std::shared_ptr<Stream> stream) {
    co_await self->go.Wait();
    auto message = co_await stream->Receive();
    while (message.ok()) {
      self->gathered += *message;
      message = co_await stream->Receive();
    }
    self->end = message.status();
    self->ended.Set();
    co_return absl::OkStatus();
  }
  static Co<absl::Status> Flood(Peer* self, std::shared_ptr<Stream> stream) {
    absl::Status sent;
    for (size_t i = 0; i < self->count && sent.ok(); ++i) {
      sent = co_await stream->Send(std::string(self->size, static_cast<char>('a' + i % 26)));
    }
    auto message = co_await stream->Receive();
    self->end = message.status();
    self->ended.Set();
    co_return absl::OkStatus();
  }
  static Co<absl::StatusOr<std::string>> Big(Peer* self) { co_return std::string(self->size, 'b'); }

  ServiceMap services;
  Latch go;
  Latch ended;
  size_t count = 0;
  size_t size = 1;
  std::string gathered;
  absl::Status end;
};

class BoundsTest : public ::testing::Test {
 public:
  BoundsTest() : peer_(io_.get_executor()) {}

  void Run(Co<void> (*test)(std::shared_ptr<Connection>, Peer&), size_t frame_data_max) {
    auto [ours, theirs] = MakeSocketPair();
    auto server =
        Connection::Start(io_.get_executor(), MakeFdTransport(io_.get_executor(), std::move(ours)), &peer_.services);
    auto client = Connection::Start(io_.get_executor(), MakeFdTransport(io_.get_executor(), std::move(theirs)), nullptr,
                                    frame_data_max);
    RunCo(io_, ThenClose(test, client, peer_));
  }
  static Co<void> ThenClose(Co<void> (*test)(std::shared_ptr<Connection>, Peer&), std::shared_ptr<Connection> client,
                            Peer& peer) {
    co_await test(client, peer);
    client->Close(absl::CancelledError("test over"));
    peer.go.Set();
  }

  asio::io_context io_{1};
  Peer peer_;
};

TEST_F(BoundsTest, ManySmallMessagesWaitForASlowServer) {
  Run(
      [](std::shared_ptr<Connection> client, Peer& peer) -> Co<void> {
        auto stream = co_await client->OpenStream(kRaw, "Gather");
        std::string all;
        for (size_t i = 0; i < kManySmall; ++i) {
          std::string message(1, static_cast<char>('a' + i % 26));
          all += message;
          absl::Status sent = co_await (*stream)->Send(std::move(message));
          EXPECT_TRUE(sent.ok()) << sent;
        }
        absl::Status closed = co_await (*stream)->CloseSend();
        EXPECT_TRUE(closed.ok()) << closed;
        co_await Sleep(std::chrono::milliseconds(100));
        peer.go.Set();
        co_await peer.ended.Wait();
        EXPECT_EQ(peer.gathered, all);
        EXPECT_TRUE(absl::IsOutOfRange(peer.end)) << peer.end;
      },
      kFrameDataMax);
}

TEST_F(BoundsTest, ManySmallMessagesWaitForASlowClient) {
  peer_.count = kManySmall;
  Run(
      [](std::shared_ptr<Connection> client, Peer& peer) -> Co<void> {
        auto stream = co_await client->OpenStream(kRaw, "Flood");
        co_await Sleep(std::chrono::milliseconds(100));
        for (size_t i = 0; i < peer.count; ++i) {
          auto message = co_await (*stream)->Receive();
          EXPECT_TRUE(message.ok()) << message.status();
          if (!message.ok()) break;
          EXPECT_EQ((*message)[0], static_cast<char>('a' + i % 26));
        }
      },
      kFrameDataMax);
}

TEST_F(BoundsTest, ServerThatSendsTooMuchBreaksItsStreamAndIsTold) {
  peer_.count = kStreamQueueBytesMax / (kMessageCost + 1) + 1;
  Run(
      [](std::shared_ptr<Connection> client, Peer& peer) -> Co<void> {
        auto stream = co_await client->OpenStream(kRaw, "Flood");
        co_await peer.ended.Wait();
        EXPECT_TRUE(absl::IsOutOfRange(peer.end)) << peer.end;
        auto message = co_await (*stream)->Receive();
        EXPECT_TRUE(absl::IsResourceExhausted(message.status())) << message.status();
      },
      kFrameDataMax);
}

TEST_F(BoundsTest, ClientThatSendsTooMuchBreaksItsStreamAndIsTold) {
  Run(
      [](std::shared_ptr<Connection> client, Peer& peer) -> Co<void> {
        auto stream = co_await client->OpenStream(kRaw, "Gather");
        absl::Status sent;
        for (size_t i = 0; i <= kStreamQueueBytesMax >> 20 && sent.ok(); ++i) {
          sent = co_await (*stream)->Send(std::string(1u << 20, 'm'));
        }
        auto message = co_await (*stream)->Receive();
        EXPECT_TRUE(absl::IsResourceExhausted(message.status())) << message.status();
        peer.go.Set();
        co_await peer.ended.Wait();
        EXPECT_TRUE(absl::IsResourceExhausted(peer.end)) << peer.end;
      },
      kFrameDataMax);
}

Co<absl::Status> ReceiveInto(std::shared_ptr<Stream> stream, std::shared_ptr<Latch> done, absl::Status* status) {
  auto message = co_await stream->Receive();
  *status = message.status();
  done->Set();
  co_return absl::OkStatus();
}

TEST_F(BoundsTest, CloseReleasesWhoeverReceivesAndTellsThePeer) {
  Run(
      [](std::shared_ptr<Connection> client, Peer& peer) -> Co<void> {
        auto stream = co_await client->OpenStream(kRaw, "Gather");
        auto executor = co_await asio::this_coro::executor;
        auto done = std::make_shared<Latch>(executor);
        absl::Status status;
        Spawn(executor, "receiving", ReceiveInto(*stream, done, &status));
        co_await Sleep(kPoll);
        (*stream)->Close();
        (*stream)->Close();
        co_await done->Wait();
        EXPECT_TRUE(absl::IsCancelled(status)) << status;
        absl::Status sent = co_await (*stream)->Send("x");
        EXPECT_TRUE(absl::IsUnavailable(sent)) << sent;
        peer.go.Set();
        co_await peer.ended.Wait();
        EXPECT_TRUE(absl::IsOutOfRange(peer.end)) << peer.end;
      },
      kFrameDataMax);
}

Co<absl::Status> SendInto(std::shared_ptr<Stream> stream, std::shared_ptr<Latch> done, absl::Status* status) {
  while (status->ok()) *status = co_await stream->Send(std::string(1u << 20, 's'));
  done->Set();
  co_return absl::OkStatus();
}

TEST_F(BoundsTest, CloseReleasesWhoeverWaitsForSpaceToSend) {
  auto [ours, theirs] = MakeSocketPair();
  auto client = Connection::Start(io_.get_executor(), MakeFdTransport(io_.get_executor(), std::move(ours)), nullptr);
  // A coroutine lambda lives as long as the test.
  auto test = [](std::shared_ptr<Connection> connection) -> Co<void> {
    auto stream = co_await connection->OpenStream(kRaw, "Gather");
    auto executor = co_await asio::this_coro::executor;
    auto done = std::make_shared<Latch>(executor);
    absl::Status status;
    Spawn(executor, "sending", SendInto(*stream, done, &status));
    co_await Sleep(std::chrono::milliseconds(100));  // nobody reads: the queue is full by now
    EXPECT_FALSE(done->is_set());
    (*stream)->Close();
    co_await done->Wait();
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    connection->Close(absl::CancelledError("test over"));
  };
  RunCo(io_, test(client));
}

TEST_F(BoundsTest, LongAnswerFailsItsCallOnly) {
  peer_.size = 2000;
  Run(
      [](std::shared_ptr<Connection> client, Peer& peer) -> Co<void> {
        Metadata none;
        auto answer = co_await client->Call(kRaw, "Big", "", kLong, none);
        EXPECT_TRUE(absl::IsResourceExhausted(answer.status())) << answer.status();
        peer.size = 500;
        auto again = co_await client->Call(kRaw, "Big", "", kLong, none);
        EXPECT_TRUE(again.ok()) << again.status();
      },
      1000);
}

TEST_F(BoundsTest, LongMessageBreaksItsStreamOnly) {
  peer_.size = 2000;
  peer_.count = 1;
  Run(
      [](std::shared_ptr<Connection> client, Peer& peer) -> Co<void> {
        auto stream = co_await client->OpenStream(kRaw, "Flood");
        auto message = co_await (*stream)->Receive();
        EXPECT_TRUE(absl::IsResourceExhausted(message.status())) << message.status();
        co_await peer.ended.Wait();
        EXPECT_TRUE(absl::IsOutOfRange(peer.end)) << peer.end;
        EXPECT_FALSE(client->is_closed());
      },
      1000);
}

// A server as a hostile guest may be one: raw frames to a pure client.
class HostileServerTest : public ::testing::Test {
 public:
  HostileServerTest() {
    auto [ours, theirs] = MakeSocketPair();
    server_ = std::make_unique<RawPeer>(io_.get_executor(), std::move(ours));
    client_ = Connection::Start(io_.get_executor(), MakeFdTransport(io_.get_executor(), std::move(theirs)), nullptr);
  }

  asio::io_context io_{1};
  std::unique_ptr<RawPeer> server_;
  std::shared_ptr<Connection> client_;
};

Co<void> ExpectNoAnswer(RawPeer& server, std::shared_ptr<Connection> client) {
  co_await server.Request(1, kRaw, "Say", std::string(1000, 'x'), 0, 0);
  std::optional<Frame> frame = co_await server.Read();
  EXPECT_FALSE(frame.has_value());
  absl::Status reason = co_await client->WaitClosed();
  EXPECT_TRUE(absl::IsInvalidArgument(reason)) << reason;
}

TEST_F(HostileServerTest, RequestToAPureClientClosesTheConnection) { RunCo(io_, ExpectNoAnswer(*server_, client_)); }

Co<void> SendNonsense(RawPeer& server, std::shared_ptr<Connection> client) {
  std::string nonsense;
  for (uint32_t i = 0; i < 20'000; ++i) {
    nonsense += EncodeFrame(i, static_cast<uint8_t>(i % 2 == 0 ? kTypeResponse : kTypeData), 0, "late");
    nonsense += EncodeFrame(i, static_cast<uint8_t>(kTypeData + 1 + i % 100), 0xff, "");
  }
  co_await server.Write(std::move(nonsense));
  // And an answer to a call: the client still hears what concerns it.
  auto executor = co_await asio::this_coro::executor;
  auto done = std::make_shared<Latch>(executor);
  absl::Status status;
  auto opened = co_await client->OpenStream(kRaw, "Gather");
  Spawn(executor, "receiving", ReceiveInto(*opened, done, &status));
  std::optional<Frame> request = co_await server.Read();
  EXPECT_TRUE(request.has_value());
  co_await server.Write(EncodeFrame(request->stream_id, kTypeData, 0, "this one"));
  co_await done->Wait();
  EXPECT_TRUE(status.ok()) << status;
  client->Close(absl::CancelledError("test over"));
}

TEST_F(HostileServerTest, FramesOfNoCallAreDropped) { RunCo(io_, SendNonsense(*server_, client_)); }

// Others of the thread: how often they got their turn.
Co<absl::Status> CountTurns(size_t* turns, const bool* is_over) {
  auto executor = co_await asio::this_coro::executor;
  while (!*is_over) {
    co_await asio::post(executor, asio::use_awaitable);
    ++*turns;
  }
  co_return absl::OkStatus();
}

Co<void> FloodWhileOthersRun(RawPeer& server, std::shared_ptr<Connection> client) {
  auto executor = co_await asio::this_coro::executor;
  auto opened = co_await client->OpenStream(kRaw, "Gather");
  std::shared_ptr<Stream> stream = *opened;
  constexpr size_t kFrames = 6000;  // fit one read
  std::string flood;
  for (size_t i = 0; i < kFrames; ++i) flood += EncodeFrame(1, kTypeData, 0, "");
  size_t turns = 0;
  bool is_over = false;
  Spawn(executor, "counting turns", CountTurns(&turns, &is_over));
  co_await server.Write(std::move(flood));
  auto message = co_await stream->Receive();
  const size_t turns_before = turns;
  for (size_t i = 1; i < kFrames; ++i) {
    message = co_await stream->Receive();
    if (!message.ok()) break;
  }
  EXPECT_TRUE(message.ok()) << message.status();
  EXPECT_GT(turns - turns_before, kFrames / 200);
  is_over = true;
  co_await Sleep(kPoll);
  client->Close(absl::CancelledError("test over"));
}

TEST_F(HostileServerTest, FloodLeavesOthersTheirTurn) { RunCo(io_, FloodWhileOthersRun(*server_, client_)); }

}  // namespace
}  // namespace kata::ttrpc
