// SPDX-License-Identifier: Apache-2.0
// Questions of a guest, which may be anything, and a resolver in a network namespace of the test's own. Needs root.
#include "virtcontainers/network/resolver_relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include "proto/ttrpc/message_stream.h"
#include "proto/ttrpc/transport.h"

namespace kata::virtcontainers {
namespace {

using agent::v1::ResolverMessage;

constexpr std::chrono::seconds kPatience{20};
constexpr char kHeader[] = "KTheader-of.";  // 12 bytes, the first two of them the number

class ResolverRelayTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "not root";
    auto made = NetworkNamespace::Open("");
    ASSERT_TRUE(made.ok()) << made.status();
    place_ = *made;
    int ends[2] = {-1, -1};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    services_.AddStream("kata.agent.v1.Agent", "Resolve",
                        [this](ttrpc::CallContext, std::shared_ptr<ttrpc::Stream> stream) {
                          stream_ = stream;
                          return Listen(this, std::move(stream));
                        });
    guest_ = ttrpc::Connection::Start(io_.get_executor(), ttrpc::MakeFdTransport(io_.get_executor(), UniqueFd(ends[0])),
                                      &services_);
    host_ = ttrpc::Connection::Start(io_.get_executor(), ttrpc::MakeFdTransport(io_.get_executor(), UniqueFd(ends[1])),
                                     nullptr);
  }
  void TearDown() override {
    if (relay_ != nullptr) relay_->Stop();
    if (host_ != nullptr) host_->Close(absl::CancelledError("test over"));
    if (guest_ != nullptr) guest_->Close(absl::CancelledError("test over"));
    io_.restart();
    io_.run_for(std::chrono::milliseconds(20));
  }

  void Listen() {
    const absl::Status status = place_->Run([this] {
      resolver_.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(53);
      address.sin_addr.s_addr = htonl(0x7f00000b);
      return ::bind(resolver_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0
                 ? absl::OkStatus()
                 : absl::UnknownError("bind");
    });
    ASSERT_TRUE(status.ok()) << status;
  }
  void StartRelay() {
    relay_ = std::make_shared<ResolverRelay>(io_.get_executor(), pool_, place_);
    auto started = std::make_shared<bool>(false);
    Spawn(io_.get_executor(), "starting",
          [](std::shared_ptr<ResolverRelay> relay, auto host, auto done) -> Co<absl::Status> {
            absl::Status status = co_await relay->Start(host);
            *done = status.ok();
            co_return status;
          }(relay_, host_, started));
    ASSERT_TRUE(RunUntil([&] { return *started && stream_ != nullptr; }));
  }
  static Co<absl::Status> Listen(ResolverRelayTest* test, std::shared_ptr<ttrpc::Stream> stream) {
    for (;;) {
      auto bytes = co_await stream->Receive();
      if (!bytes.ok()) break;
      ResolverMessage message;
      message.ParseFromString(*bytes);
      test->answers_.push_back(std::move(message));
    }
    test->has_ended_ = true;
    co_return absl::OkStatus();
  }
  void Ask(uint32_t id, const std::string& text, bool is_tcp = false) {
    ResolverMessage message;
    message.set_id(id);
    message.set_is_tcp(is_tcp);
    message.set_message(text);
    Spawn(io_.get_executor(), "asking",
          [](std::shared_ptr<ttrpc::Stream> stream, std::string bytes) -> Co<absl::Status> {
            absl::Status status = co_await stream->Send(std::move(bytes));
            co_return status;
          }(stream_, message.SerializeAsString()));
  }
  struct Asked {
    std::string text;
    sockaddr_in from{};
  };
  bool Take(Asked& out) {
    char buffer[65536];
    socklen_t size = sizeof(out.from);
    const ssize_t n =
        ::recvfrom(resolver_.get(), buffer, sizeof(buffer), 0, reinterpret_cast<sockaddr*>(&out.from), &size);
    if (n < 0) return false;
    out.text.assign(buffer, static_cast<size_t>(n));
    return true;
  }
  void Answer(const Asked& asked, const std::string& text) {
    ::sendto(resolver_.get(), text.data(), text.size(), 0, reinterpret_cast<const sockaddr*>(&asked.from),
             sizeof(asked.from));
  }
  std::vector<Asked> TakeAll(size_t count) {
    std::vector<Asked> all;
    RunUntil([&] {
      for (Asked asked; Take(asked);) all.push_back(asked);
      return all.size() >= count;
    });
    return all;
  }
  template <typename Condition>
  bool RunUntil(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!condition() && std::chrono::steady_clock::now() < end) {
      io_.restart();
      io_.run_one_for(std::chrono::milliseconds(20));
    }
    return condition();
  }

  asio::io_context io_{1};
  asio::thread_pool pool_{1};
  std::shared_ptr<const NetworkNamespace> place_;
  UniqueFd resolver_;
  ttrpc::ServiceMap services_;
  std::shared_ptr<ttrpc::Connection> guest_;
  std::shared_ptr<ttrpc::Connection> host_;
  std::shared_ptr<ttrpc::Stream> stream_;
  std::shared_ptr<ResolverRelay> relay_;
  std::vector<ResolverMessage> answers_;
  bool has_ended_ = false;
};

TEST_F(ResolverRelayTest, SeesWhetherSomebodyListens) {
  EXPECT_FALSE(ResolverRelay::IsThere(*place_));
  Listen();
  EXPECT_TRUE(ResolverRelay::IsThere(*place_));
}

TEST_F(ResolverRelayTest, QuestionsWithOneNumberGetTheirOwnAnswers) {
  Listen();
  StartRelay();
  Ask(70, std::string(kHeader) + "first");
  Ask(71, std::string(kHeader) + "second");
  const std::vector<Asked> asked = TakeAll(2);
  ASSERT_EQ(asked.size(), 2U);
  EXPECT_NE(asked[0].text.substr(0, 2), asked[1].text.substr(0, 2));
  EXPECT_EQ(asked[0].text.substr(2), std::string(kHeader).substr(2) + "first");
  Answer(asked[1], asked[1].text + "!");
  Answer(asked[0], asked[0].text + "?");
  ASSERT_TRUE(RunUntil([&] { return answers_.size() == 2; }));
  EXPECT_EQ(answers_[0].id(), 71U);
  EXPECT_EQ(answers_[0].message(), std::string(kHeader) + "second!");
  EXPECT_EQ(answers_[1].id(), 70U);
  EXPECT_EQ(answers_[1].message(), std::string(kHeader) + "first?");
}

TEST_F(ResolverRelayTest, WhatIsNoQuestionGoesNowhere) {
  Listen();
  StartRelay();
  Ask(1, "");
  Ask(2, "short");
  Ask(3, std::string(kRelayedSizeMax + 1, 'x'));
  Ask(4, std::string(kHeader) + "good");
  const std::vector<Asked> asked = TakeAll(1);
  ASSERT_EQ(asked.size(), 1U);
  // Nor does what is no answer, or one that nobody waits for.
  Answer(asked[0], "x");
  std::string other = asked[0].text;
  other[1] = static_cast<char>(other[1] + 7);
  Answer(asked[0], other);
  Answer(asked[0], asked[0].text);
  Answer(asked[0], asked[0].text);
  ASSERT_TRUE(RunUntil([&] { return !answers_.empty(); }));
  io_.restart();
  io_.run_for(std::chrono::milliseconds(50));
  ASSERT_EQ(answers_.size(), 1U);
  EXPECT_EQ(answers_[0].id(), 4U);
}

TEST_F(ResolverRelayTest, TheOldestQuestionIsForgotten) {
  Listen();
  StartRelay();
  std::vector<Asked> asked;
  for (uint32_t i = 0; i < kRelayedQuestionsMax + 1; ++i) {
    Ask(i, std::string(kHeader) + std::to_string(i));
    for (const Asked& one : TakeAll(1)) asked.push_back(one);
  }
  ASSERT_EQ(asked.size(), kRelayedQuestionsMax + 1);
  for (const Asked& one : asked) {
    Answer(one, one.text);
    io_.restart();
    io_.poll();  // more at once than a socket holds
  }
  ASSERT_TRUE(RunUntil([&] { return answers_.size() == kRelayedQuestionsMax; }));
  std::set<uint32_t> ids;
  for (const ResolverMessage& answer : answers_) ids.insert(answer.id());
  EXPECT_FALSE(ids.contains(0));
  EXPECT_EQ(ids.size(), kRelayedQuestionsMax);
}

TEST_F(ResolverRelayTest, WithoutAResolverQuestionsAreLostAndTheNextGoesOn) {
  StartRelay();
  for (uint32_t i = 0; i < 3; ++i) Ask(i, std::string(kHeader) + "lost");
  Ask(7, std::string(kHeader) + "lost by TCP", /*is_tcp=*/true);
  io_.restart();
  io_.run_for(std::chrono::milliseconds(100));
  Listen();
  Ask(9, std::string(kHeader) + "heard");
  const std::vector<Asked> asked = TakeAll(1);
  ASSERT_EQ(asked.size(), 1U);
  Answer(asked[0], asked[0].text);
  ASSERT_TRUE(RunUntil([&] { return !answers_.empty(); }));
  EXPECT_EQ(answers_[0].id(), 9U);
}

TEST_F(ResolverRelayTest, EndsItsCall) {
  StartRelay();
  relay_->Stop();
  EXPECT_TRUE(RunUntil([&] { return has_ended_; }));
}

}  // namespace
}  // namespace kata::virtcontainers
