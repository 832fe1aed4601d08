// SPDX-License-Identifier: Apache-2.0
#include "proto/ttrpc/session.h"

#include <algorithm>
#include <cstring>

#include "proto/ttrpc/test/echo_service.h"
#include "proto/ttrpc/test/test_util.h"

namespace kata::ttrpc {
namespace {

constexpr uint64_t kOld = 0x1122334455667788;
constexpr uint64_t kNew = 0x0102030405060708;

struct Decoded {
  std::string before;  // payload of older sessions
  std::string payload;
  uint64_t nonce = 0;
};

// Feeds `bytes` in pieces of `piece`; `payload` is that of the last session.
Decoded Decode(std::string_view bytes, size_t piece) {
  SessionDecoder decoder;
  Decoded out;
  while (!bytes.empty()) {
    auto space = decoder.Space();
    const size_t n = std::min({piece, space.size(), bytes.size()});
    EXPECT_GT(n, 0u);
    if (n == 0) return out;
    std::memcpy(space.data(), bytes.data(), n);
    bytes.remove_prefix(n);
    decoder.Commit(n);
    for (;;) {
      const auto event = decoder.Next();
      if (event == SessionDecoder::Event::kNeedsBytes) break;
      if (event == SessionDecoder::Event::kNewSession) {
        out.before += std::exchange(out.payload, {});
        out.nonce = decoder.nonce();
      } else {
        out.payload += decoder.payload();
      }
    }
  }
  return out;
}

TEST(SessionCodecTest, PayloadComesThroughInAnyPieces) {
  const std::string payload = std::string(3 * kSessionChunkMax + 17, 'x') + "end";
  const std::string bytes = SessionPreamble(kNew) + SessionChunks(kNew, "first") + SessionChunks(kNew, payload);
  for (size_t piece : {size_t{1}, size_t{7}, size_t{4096}, size_t{100000}}) {
    const Decoded out = Decode(bytes, piece);
    EXPECT_EQ(out.nonce, kNew);
    EXPECT_EQ(out.payload, "first" + payload) << "pieces of " << piece;
  }
}

// Wherever the old session is cut off, the new one's payload arrives whole and nothing false before
// it, even when the old payload holds what looks like the beginning of a session.
TEST(SessionCodecTest, SessionBeginsAfterACutAnywhere) {
  const std::string trap = SessionMark(0xbad) + "trap" + SessionMark(0xbad);
  const std::string payload = "abc" + trap + std::string(300, '\0');
  const std::string old = SessionPreamble(kOld) + SessionChunks(kOld, "a") + SessionChunks(kOld, payload);
  const std::string next = SessionPreamble(kNew) + SessionChunks(kNew, "hello");
  for (size_t cut = 0; cut <= old.size(); ++cut) {
    // The padding is alike everywhere.
    if (cut > 40 && cut < kSessionPaddingSize - 40) continue;
    const Decoded out = Decode(old.substr(0, cut) + next, 5000);
    ASSERT_EQ(out.nonce, kNew) << "cut at " << cut;
    ASSERT_EQ(out.payload, "hello") << "cut at " << cut;
    ASSERT_EQ(out.before, ("a" + payload).substr(0, out.before.size())) << "cut at " << cut;
  }
}

TEST(SessionCodecTest, LongestChunkCutAnywhereIsDropped) {
  const std::string chunk = SessionChunks(kOld, std::string(kSessionChunkMax, 'x'));
  const std::string next = SessionPreamble(kNew) + SessionChunks(kNew, "hello");
  for (size_t cut = 1; cut < chunk.size(); cut += cut < 40 || cut + 40 > chunk.size() ? 1 : 997) {
    const Decoded out = Decode(SessionPreamble(kOld) + chunk.substr(0, cut) + next, 60000);
    ASSERT_EQ(out.payload, "hello") << "cut at " << cut;
    ASSERT_EQ(out.before, "") << "cut at " << cut;
  }
}

TEST(SessionCodecTest, PreambleCutAgainAndAgain) {
  std::string bytes;
  for (size_t keep = 1; keep < 20; ++keep) {
    const std::string preamble = SessionPreamble(kOld);
    bytes += preamble.substr(0, preamble.size() - keep);
  }
  bytes += SessionPreamble(kNew) + SessionChunks(kNew, "hello");
  const Decoded out = Decode(bytes, 4096);
  EXPECT_EQ(out.nonce, kNew);
  EXPECT_EQ(out.payload, "hello");
  EXPECT_EQ(out.before, "");
}

TEST(SessionCodecTest, AnswerIsFoundInAnyPieces) {
  const std::string bytes = "old" + SessionMark(kOld) + "more\xff" + SessionMark(kNew) + "answer";
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    SessionAnswerFinder finder(kNew);
    std::string out;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      std::string part = bytes.substr(at, piece);
      out.append(part.data(), finder.Filter(part));
    }
    EXPECT_TRUE(finder.has_found());
    EXPECT_EQ(out, "answer") << "pieces of " << piece;
  }
}

// One more descriptor of the same port: closing it does not hang up.
class PortCopy : public Transport {
 public:
  explicit PortCopy(std::shared_ptr<Transport> port) : port_(std::move(port)) {}
  Co<absl::StatusOr<size_t>> ReadSome(std::span<char> buffer) override { co_return co_await port_->ReadSome(buffer); }
  Co<absl::Status> WriteAll(std::string_view data) override { co_return co_await port_->WriteAll(data); }
  void Close() override {}

 private:
  const std::shared_ptr<Transport> port_;
};

// Serves the guest's end as the agent does, until the host's is closed.
Co<absl::Status> ServeSessions(std::shared_ptr<Transport> port, const ServiceMap* services, int* sessions_served) {
  auto executor = co_await asio::this_coro::executor;
  SessionAcceptor sessions;
  for (;;) {
    auto channel = std::make_unique<PortCopy>(port);
    auto session = co_await sessions.Accept(std::move(channel));
    if (!session.ok()) co_return absl::OkStatus();
    ++*sessions_served;
    auto connection = Connection::Start(executor, *std::move(session), services);
    absl::Status ended = co_await connection->WaitClosed();
    EXPECT_TRUE(absl::IsUnavailable(ended)) << ended;
  }
}

// Breaks off in the middle of a call, with answers unread, then calls in a session of its own.
Co<void> BreakOffAndCall(std::shared_ptr<Transport> port, size_t size) {
  auto executor = co_await asio::this_coro::executor;
  ::ttrpc::Request request;
  request.set_service("kata.ttrpc.test.Echo");
  request.set_method("Say");
  test::EchoRequest body;
  body.set_text(std::string(size, 'o'));
  request.set_payload(body.SerializeAsString());
  const std::string frame = EncodeFrame(1, kTypeRequest, 0, request.SerializeAsString());
  const std::string whole = EncodeFrame(3, kTypeRequest, 0, request.SerializeAsString());
  const std::string bytes = SessionPreamble(kOld) + SessionChunks(kOld, frame) + SessionChunks(kOld, whole);
  const std::string cut = bytes.substr(0, bytes.size() - size / 2);
  absl::Status written = co_await port->WriteAll(cut);
  EXPECT_TRUE(written.ok()) << written;

  auto channel = std::make_unique<PortCopy>(port);
  auto session = MakeHostSession(executor, std::move(channel));
  EXPECT_TRUE(session.ok()) << session.status();
  auto connection = Connection::Start(executor, *std::move(session), nullptr);
  test::EchoClient echo(connection);
  test::EchoRequest hello;
  hello.set_text(std::string(200000, 'h'));
  auto reply = co_await echo.Say(hello, kWatchdog);
  EXPECT_TRUE(reply.ok()) << reply.status();
  if (reply.ok()) EXPECT_EQ(reply->text(), hello.text());
  port->Close();
  connection->Close(absl::CancelledError("done"));
}

TEST(SessionTest, HostComesBackInTheMiddleOfACall) {
  for (size_t size : {size_t{100}, size_t{20000}, size_t{150000}}) {
    asio::io_context io(1);
    EchoServiceFake service;
    ServiceMap services;
    service.Register(services);
    auto [host, guest] = MakeSocketPair();
    std::shared_ptr<Transport> host_port = MakeFdTransport(io.get_executor(), std::move(host));
    std::shared_ptr<Transport> guest_port = MakeFdTransport(io.get_executor(), std::move(guest));
    int sessions = 0;
    Spawn(io.get_executor(), "guest", ServeSessions(guest_port, &services, &sessions));
    RunCo(io, BreakOffAndCall(host_port, size));
    EXPECT_EQ(sessions, 2) << size;
  }
}

}  // namespace
}  // namespace kata::ttrpc
