// SPDX-License-Identifier: Apache-2.0
#include "shimv2/stdio/relay.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include "proto/base/stdio_limits.h"
#include "shimv2/test/guest_end.h"

namespace kata::shimv2 {
namespace {

constexpr std::chrono::seconds kPatience{20};

class StdioRelayTest : public testing::Test {
 protected:
  StdioRelayTest() {
    char name[] = "/tmp/stdio-relay-XXXXXX";
    directory_ = ::mkdtemp(name);
    guest_ = std::make_shared<GuestEnd>(io_.get_executor());
  }
  ~StdioRelayTest() override {
    if (relay_) relay_->Close();
    guest_->End();
    io_.run_for(std::chrono::milliseconds(10));
    std::filesystem::remove_all(directory_);
  }

  std::string Fifo(const char* name) {
    const std::string path = directory_ + "/" + name;
    EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
    return path;
  }
  void StartRelay(const StdioPaths& paths) {
    auto files = OpenStdioFiles(paths);
    ASSERT_TRUE(files.ok()) << files.status();
    std::shared_ptr<ttrpc::Stream> stream;
    Spawn(io_.get_executor(), "open", Open(guest_, &stream));
    ASSERT_TRUE(RunUntil([&] { return stream != nullptr; }));
    auto messages = std::make_shared<virtcontainers::StdioStream>(std::move(stream));
    relay_ = StdioRelay::Start(io_.get_executor(), pool_, std::move(*files), std::move(messages));
  }
  static Co<absl::Status> Open(std::shared_ptr<GuestEnd> guest, std::shared_ptr<ttrpc::Stream>* stream) {
    auto opened = co_await guest->Open();
    if (opened.ok()) *stream = *std::move(opened);
    co_return opened.status();
  }
  size_t CreditOf(StdioMessage::Channel channel) const {
    size_t credit = 0;
    for (const StdioMessage& message : guest_->to_guest) {
      if (message.has_credit() && message.credit().channel() == channel) credit += message.credit().bytes();
    }
    return credit;
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
  std::string ReadToEnd(int fd) {
    std::string seen;
    EXPECT_TRUE(RunUntil([&] {
      char buffer[16];
      ssize_t n = ::read(fd, buffer, sizeof(buffer));
      if (n > 0) seen.append(buffer, static_cast<size_t>(n));
      return n == 0 && !seen.empty();
    }));
    return seen;
  }
  static std::string ReadAvailable(int fd) {
    std::string out;
    char buffer[65536];
    ssize_t n;
    while ((n = ::read(fd, buffer, sizeof(buffer))) > 0) out.append(buffer, static_cast<size_t>(n));
    return out;
  }

  asio::io_context io_{1};
  asio::thread_pool pool_{1};
  std::string directory_;
  std::shared_ptr<GuestEnd> guest_;
  std::shared_ptr<StdioRelay> relay_;
};

TEST_F(StdioRelayTest, OutputReachesTheClientAndItsCreditTheGuest) {
  StdioPaths paths;
  paths.out = Fifo("out");
  UniqueFd client(::open(paths.out.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  StartRelay(paths);

  guest_->SayData(StdioMessage::STDOUT, "hello");

  EXPECT_TRUE(RunUntil([&] { return guest_->to_guest.size() == 1; }));
  EXPECT_EQ(ReadAvailable(client.get()), "hello");
  EXPECT_EQ(guest_->to_guest[0].credit().bytes(), StdioCost(5));
}

TEST_F(StdioRelayTest, ClientSeesEndOfFileAfterTheLastByte) {
  StdioPaths paths;
  paths.out = Fifo("out");
  UniqueFd client(::open(paths.out.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  StartRelay(paths);

  guest_->SayData(StdioMessage::STDOUT, "last");
  guest_->SayEnd(StdioMessage::STDOUT);
  EXPECT_EQ(ReadToEnd(client.get()), "last");
}

Co<absl::Status> Drain(std::shared_ptr<StdioRelay> relay, bool* is_drained) {
  *is_drained = co_await relay->WaitDrained(kPatience);
  co_return absl::OkStatus();
}

TEST_F(StdioRelayTest, OutputOfAShortProcessWaitsForALateClient) {
  StdioPaths paths;
  paths.out = Fifo("out");
  paths.err = Fifo("err");
  StartRelay(paths);

  guest_->SayData(StdioMessage::STDOUT, "quick");
  guest_->SayEnd(StdioMessage::STDOUT);
  guest_->SayEnd(StdioMessage::STDERR);
  io_.run_for(std::chrono::milliseconds(50));
  UniqueFd client(::open(paths.out.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  EXPECT_EQ(ReadToEnd(client.get()), "quick");
  relay_->Close();  // nobody ever reads stderr
  bool is_drained = false;
  Spawn(io_.get_executor(), "drain", Drain(relay_, &is_drained));
  EXPECT_TRUE(RunUntil([&] { return is_drained; }));
}

TEST_F(StdioRelayTest, StalledStdoutDoesNotHoldUpStderr) {
  StdioPaths paths;
  paths.out = Fifo("out");
  paths.err = Fifo("err");
  UniqueFd out(::open(paths.out.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  UniqueFd err(::open(paths.err.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  StartRelay(paths);

  for (int i = 0; i < 3; ++i) guest_->SayData(StdioMessage::STDOUT, std::string(kStdioChunkMax, 'o'));
  guest_->SayData(StdioMessage::STDERR, "still here");
  std::string seen;

  EXPECT_TRUE(RunUntil([&] { return (seen += ReadAvailable(err.get())) == "still here"; }));
}

TEST_F(StdioRelayTest, GuestThatExceedsItsCreditIsCutOff) {
  StdioPaths paths;
  paths.out = Fifo("out");
  UniqueFd client(::open(paths.out.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  StartRelay(paths);

  constexpr int kChunks = 32;
  for (int i = 0; i < kChunks; ++i) guest_->SayData(StdioMessage::STDOUT, std::string(kStdioChunkMax, 'o'));
  std::string seen;
  bool is_over = false;
  EXPECT_TRUE(RunUntil([&] {
    for (int i = 0; i < 200; ++i) {
      io_.restart();
      io_.poll_one();
    }
    char buffer[65536];
    ssize_t n = ::read(client.get(), buffer, sizeof(buffer));
    if (n > 0) seen.append(buffer, static_cast<size_t>(n));
    is_over = n == 0;
    return is_over;
  }));

  EXPECT_LT(seen.size(), kChunks * kStdioChunkMax);
}

// As many small messages as the credit allows: far more than any queue on the way once held.
TEST_F(StdioRelayTest, ManySmallMessagesWaitForASlowClient) {
  StdioPaths paths;
  paths.out = Fifo("out");
  paths.err = Fifo("err");
  StartRelay(paths);
  constexpr size_t kLine = 8;
  constexpr size_t kLines = kStdioCreditInitial / (kLine + kStdioMessageCost);
  std::string expected;
  for (size_t i = 0; i < kLines; ++i) {
    std::string line = std::to_string(10'000'000 + i).substr(1) + "\n";
    expected += line;
    guest_->SayData(StdioMessage::STDOUT, line);
    guest_->SayData(StdioMessage::STDERR, std::move(line));
  }
  io_.run_for(std::chrono::milliseconds(200));
  EXPECT_FALSE(guest_->has_host_ended());

  UniqueFd out(::open(paths.out.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  UniqueFd err(::open(paths.err.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  std::string seen_out;
  std::string seen_err;

  EXPECT_TRUE(RunUntil([&] {
    seen_out += ReadAvailable(out.get());
    seen_err += ReadAvailable(err.get());
    return seen_out.size() >= expected.size() && seen_err.size() >= expected.size();
  }));
  EXPECT_EQ(seen_out, expected);
  EXPECT_EQ(seen_err, expected);
  const size_t cost = kLines * StdioCost(kLine);
  EXPECT_TRUE(
      RunUntil([&] { return CreditOf(StdioMessage::STDOUT) >= cost && CreditOf(StdioMessage::STDERR) >= cost; }));
  EXPECT_EQ(CreditOf(StdioMessage::STDOUT), cost);
  EXPECT_EQ(CreditOf(StdioMessage::STDERR), cost);
  // Not one for each of the messages.
  EXPECT_LT(guest_->to_guest.size(), 4 * kStdioCreditInitial / kStdioCreditBatch);
}

TEST_F(StdioRelayTest, ClosedRelayEndsTheGuestsCall) {
  StdioPaths paths;
  paths.in = Fifo("in");
  paths.out = Fifo("out");  // nobody ever reads it
  StartRelay(paths);
  for (int i = 0; i < 3; ++i) guest_->SayData(StdioMessage::STDOUT, std::string(kStdioChunkMax, 'o'));
  io_.run_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(guest_->has_host_ended());
  const std::weak_ptr<StdioRelay> weak = relay_;

  relay_->Close();
  relay_.reset();

  EXPECT_TRUE(RunUntil([&] { return guest_->has_host_ended(); }));
  EXPECT_TRUE(RunUntil([&] { return weak.expired(); }));
}

TEST_F(StdioRelayTest, GuestThatSendsToNoOutputIsCutOff) {
  StdioPaths paths;
  paths.out = Fifo("out");
  StartRelay(paths);

  guest_->SayData(StdioMessage::STDIN, "in?");

  EXPECT_TRUE(RunUntil([&] { return guest_->has_host_ended(); }));
}

TEST_F(StdioRelayTest, GuestThatSendsMoreAtOnceThanAChunkIsCutOff) {
  StdioPaths paths;
  paths.out = Fifo("out");
  StartRelay(paths);

  guest_->SayData(StdioMessage::STDOUT, std::string(kStdioChunkMax + 1, 'o'));

  EXPECT_TRUE(RunUntil([&] { return guest_->has_host_ended(); }));
}

TEST_F(StdioRelayTest, ManySmallInputsKeepToTheCredit) {
  StdioPaths paths;
  paths.in = Fifo("in");
  StartRelay(paths);
  UniqueFd client(::open(paths.in.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  constexpr size_t kWrites = 10'000;
  size_t written = 0;

  // The guest gives nothing back: the client is held up when the credit is used, not before.
  EXPECT_TRUE(RunUntil([&] {
    if (written < kWrites && ::write(client.get(), "8 bytes\n", 8) == 8) ++written;
    size_t cost = 0;
    for (const StdioMessage& message : guest_->to_guest) cost += StdioCost(message.data().data().size());
    EXPECT_LE(cost, kStdioCreditInitial);
    return cost + StdioCost(8) > kStdioCreditInitial;
  }));
  EXPECT_FALSE(guest_->has_host_ended());
}

TEST_F(StdioRelayTest, GuestThatSendsNothingIsCutOff) {
  StdioPaths paths;
  paths.out = Fifo("out");
  UniqueFd client(::open(paths.out.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  StartRelay(paths);

  guest_->SayData(StdioMessage::STDOUT, "");
  guest_->SayData(StdioMessage::STDOUT, "unseen");

  char c = 0;
  EXPECT_TRUE(RunUntil([&] { return ::read(client.get(), &c, 1) == 0; }));
}

TEST_F(StdioRelayTest, StdinEndsOnlyAfterCloseIo) {
  StdioPaths paths;
  paths.in = Fifo("in");
  StartRelay(paths);
  UniqueFd client(::open(paths.in.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_TRUE(WriteAll(client.get(), "input").ok());
  client.reset();
  EXPECT_TRUE(RunUntil([&] { return guest_->to_guest.size() == 1; }));
  EXPECT_EQ(guest_->to_guest[0].data().data(), "input");

  relay_->CloseStdin();

  EXPECT_TRUE(RunUntil([&] { return guest_->to_guest.size() == 2; }));
  EXPECT_EQ(guest_->to_guest[1].kind_case(), StdioMessage::kEnd);
}

TEST_F(StdioRelayTest, MissingFifoIsNamed) {
  StdioPaths paths;
  paths.out = "/nonexistent/out";

  EXPECT_EQ(OpenStdioFiles(paths).status().message(), "opening stdout \"/nonexistent/out\": no such file or directory");
}

TEST_F(StdioRelayTest, UnknownSchemeIsRefused) {
  StdioPaths paths;
  paths.out = "carrier-pigeon:///bin/logger";

  EXPECT_EQ(OpenStdioFiles(paths).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(StdioRelayTest, LoggerThatOnlyStderrNamesIsRefused) {
  StdioPaths paths;
  paths.err = "binary:///bin/logger";

  EXPECT_NE(OpenStdioFiles(paths).status().message().find("given as stdout"), std::string::npos);
}

TEST_F(StdioRelayTest, LoggerWithABadPathIsRefusedBeforeItIsStarted) {
  StdioPaths paths;
  paths.out = "binary://logger";

  EXPECT_NE(OpenStdioFiles(paths).status().message().find("not absolute"), std::string::npos);
}

TEST_F(StdioRelayTest, FileTakesBothStreams) {
  StdioPaths paths;
  paths.out = "file://" + directory_ + "/logs/box.log";
  paths.err = "file:///nonexistent/box.log";
  StartRelay(paths);

  guest_->SayData(StdioMessage::STDOUT, "one ");
  guest_->SayData(StdioMessage::STDERR, "two");
  guest_->SayEnd(StdioMessage::STDOUT);
  guest_->SayEnd(StdioMessage::STDERR);

  EXPECT_TRUE(RunUntil([&] { return guest_->to_guest.size() == 2; }));
  EXPECT_EQ(*ReadFile(directory_ + "/logs/box.log", 100), "one two");
}

}  // namespace
}  // namespace kata::shimv2
