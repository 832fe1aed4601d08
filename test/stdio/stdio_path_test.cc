// SPDX-License-Identifier: Apache-2.0
// The whole way of a process's bytes in one program: the client's fifo, the shim's relay, a real connection that can be
// stopped like a stopped shim or machine, the agent's ends of the pipes.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <map>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include "agent/stdio/process_io.h"
#include "proto/base/fd.h"
#include "proto/base/stdio_limits.h"
#include "proto/ttrpc/connection.h"
#include "proto/ttrpc/transport.h"
#include "shimv2/stdio/relay.h"

namespace kata {
namespace {

using agent::ProcessIo;
using agent::v1::StdioMessage;
using shimv2::StdioPaths;
using shimv2::StdioRelay;
using virtcontainers::StdioStream;

constexpr char kService[] = "test.Agent";
constexpr char kMethod[] = "Stdio";
constexpr std::chrono::seconds kPatience{60};
constexpr std::chrono::milliseconds kPoll{1};

// Takes nothing while it is stopped; what comes then waits in the socket and behind it.
class StoppableTransport final : public ttrpc::Transport {
 public:
  StoppableTransport(std::unique_ptr<ttrpc::Transport> inner, const bool* is_stopped)
      : inner_(std::move(inner)), is_stopped_(is_stopped) {}
  Co<absl::StatusOr<size_t>> ReadSome(std::span<char> buffer) override {
    while (*is_stopped_) co_await Sleep(kPoll);
    co_return co_await inner_->ReadSome(buffer);
  }
  Co<absl::Status> WriteAll(std::string_view data) override {
    while (*is_stopped_) co_await Sleep(kPoll);
    co_return co_await inner_->WriteAll(data);
  }
  void Close() override { inner_->Close(); }

 private:
  std::unique_ptr<ttrpc::Transport> inner_;
  const bool* is_stopped_;
};

size_t OpenDescriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

size_t ResidentBytes() {
  auto text = ReadFile("/proc/self/statm", 4096);
  return text.ok() ? std::stoul(text->substr(text->find(' '))) * static_cast<size_t>(::getpagesize()) : 0;
}

// Eight bytes each.
std::string Line(size_t number) { return std::to_string(10'000'000 + number % 10'000'000).substr(1) + "\n"; }

void WriteLines(int fd, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const std::string line = Line(i);
    if (!WriteAll(fd, line).ok()) break;
  }
}

class StdioPathTest : public testing::Test {
 protected:
  StdioPathTest() {
    char name[] = "/tmp/stdio-path-XXXXXX";
    directory_ = ::mkdtemp(name);
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    services_.AddStream(kService, kMethod, [this](ttrpc::CallContext, std::shared_ptr<ttrpc::Stream> stream) {
      return Serve(this, std::move(stream));
    });
    guest_ = ttrpc::Connection::Start(executor(), Transport(ends[0], &is_guest_stopped_), &services_);
    host_ = ttrpc::Connection::Start(executor(), Transport(ends[1], &is_host_stopped_), nullptr);
  }
  ~StdioPathTest() override {
    host_->Close(absl::CancelledError("test over"));
    guest_->Close(absl::CancelledError("test over"));
    io_.restart();
    io_.run_for(std::chrono::milliseconds(20));
    std::filesystem::remove_all(directory_);
  }

  asio::any_io_executor executor() { return io_.get_executor(); }
  std::unique_ptr<ttrpc::Transport> Transport(int fd, const bool* is_stopped) {
    return std::make_unique<StoppableTransport>(ttrpc::MakeFdTransport(executor(), UniqueFd(fd)), is_stopped);
  }
  std::string Fifo(const std::string& name) {
    const std::string path = directory_ + "/" + name;
    EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
    return path;
  }
  // As the agent's service does it.
  static Co<absl::Status> Serve(StdioPathTest* test, std::shared_ptr<ttrpc::Stream> bytes) {
    auto stream = std::make_shared<agent::StdioStream>(std::move(bytes));
    auto first = co_await stream->Receive();
    if (!first.ok()) co_return first.status();
    auto found = test->processes_.find(first->open().exec_id());
    if (found == test->processes_.end()) co_return absl::NotFoundError("no such process");
    std::shared_ptr<ProcessIo> process = found->second;
    ++test->serving_;
    absl::Status status = co_await process->Serve(std::move(stream));
    --test->serving_;
    co_return status;
  }
  static Co<absl::Status> Open(std::shared_ptr<ttrpc::Connection> host, std::string id,
                               std::shared_ptr<StdioStream>* out) {
    auto stream = co_await ttrpc::OpenMessageStream<StdioMessage, StdioMessage>(host, kService, kMethod);
    if (!stream.ok()) co_return stream.status();
    StdioMessage message;
    message.mutable_open()->set_exec_id(id);
    absl::Status sent = co_await (*stream)->Send(std::move(message));
    *out = *std::move(stream);
    co_return sent;
  }
  std::shared_ptr<StdioRelay> StartRelay(const std::string& id, const StdioPaths& paths) {
    auto files = shimv2::OpenStdioFiles(paths);
    EXPECT_TRUE(files.ok()) << files.status();
    std::shared_ptr<StdioStream> stream;
    Spawn(executor(), "open", Open(host_, id, &stream));
    EXPECT_TRUE(RunUntil([&] { return stream != nullptr; }));
    return StdioRelay::Start(executor(), pool_, std::move(*files), std::move(stream));
  }
  template <typename Condition>
  bool RunUntil(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < end) {
      if (condition()) return true;
      io_.restart();
      io_.run_one_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  void RunFor(std::chrono::milliseconds time) {
    io_.restart();
    io_.run_for(time);
  }
  // Shim and machine in turns, for a moment each.
  void StopInTurns(size_t turn) {
    bool& is_stopped = turn % 2 == 0 ? is_host_stopped_ : is_guest_stopped_;
    is_stopped = true;
    RunFor(std::chrono::milliseconds(30));
    is_stopped = false;
  }

  asio::io_context io_{1};
  asio::thread_pool pool_{1};
  std::string directory_;
  ttrpc::ServiceMap services_;
  std::map<std::string, std::shared_ptr<ProcessIo>> processes_;
  size_t serving_ = 0;
  bool is_guest_stopped_ = false;
  bool is_host_stopped_ = false;
  std::shared_ptr<ttrpc::Connection> guest_;
  std::shared_ptr<ttrpc::Connection> host_;
};

TEST_F(StdioPathTest, ManySmallOutputsArriveWholeWhateverStops) {
  constexpr size_t kLines = 400'000;
  auto process = processes_["e"] = std::make_shared<ProcessIo>(executor());
  std::array<UniqueFd, 3> ends;
  ASSERT_TRUE(process->MakePipes(false, true, false, ends).ok());
  StdioPaths paths;
  paths.out = Fifo("out");
  UniqueFd client(::open(paths.out.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  auto relay = StartRelay("e", paths);
  std::thread program([fd = std::move(ends[1])] { WriteLines(fd.get(), kLines); });

  std::string seen;
  seen.reserve(kLines * 8);
  char buffer[64 << 10];
  size_t turn = 0;
  bool is_over = false;
  EXPECT_TRUE(RunUntil([&] {
    // The client stands still as well.
    if (seen.size() >= turn * kLines && turn < 8) {
      StopInTurns(turn);
      RunFor(std::chrono::milliseconds(30));
      ++turn;
    }
    ssize_t n = 1;
    while (n > 0 && (n = ::read(client.get(), buffer, sizeof(buffer))) > 0) seen.append(buffer, static_cast<size_t>(n));
    is_over = n == 0;
    return is_over || seen.size() >= kLines * 8;
  }));
  ASSERT_TRUE(seen.size() == kLines * 8) << "the output ends at line " << seen.size() / 8;
  for (size_t i = 0; i < kLines; ++i) ASSERT_EQ(seen.substr(i * 8, 8), Line(i));
  program.join();
  process->ProcessExited();
  EXPECT_TRUE(RunUntil([&] { return ::read(client.get(), buffer, 1) == 0; }));
  EXPECT_TRUE(RunUntil([&] { return serving_ == 0; }));
}

TEST_F(StdioPathTest, ManySmallInputsArriveWholeWhateverStops) {
  constexpr size_t kLines = 200'000;
  auto process = processes_["e"] = std::make_shared<ProcessIo>(executor());
  std::array<UniqueFd, 3> ends;
  ASSERT_TRUE(process->MakePipes(true, true, false, ends).ok());
  StdioPaths paths;
  paths.in = Fifo("in");
  paths.out = Fifo("out");
  UniqueFd out(::open(paths.out.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  auto relay = StartRelay("e", paths);
  std::thread client([path = paths.in] {
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    WriteLines(fd.get(), kLines);
  });
  const int pipe = ends[0].get();
  ::fcntl(pipe, F_SETFL, O_NONBLOCK);

  std::string seen;
  seen.reserve(kLines * 8);
  char buffer[64 << 10];
  size_t turn = 0;
  EXPECT_TRUE(RunUntil([&] {
    if (seen.size() >= turn * kLines && turn < 8) {
      StopInTurns(turn);
      RunFor(std::chrono::milliseconds(30));
      ++turn;
    }
    ssize_t n = 0;
    while ((n = ::read(pipe, buffer, sizeof(buffer))) > 0) seen.append(buffer, static_cast<size_t>(n));
    return n == 0 || seen.size() >= kLines * 8;
  }));
  EXPECT_EQ(seen.size(), kLines * 8);
  for (size_t i = 0; i < seen.size() / 8; ++i) ASSERT_EQ(seen.substr(i * 8, 8), Line(i));
  client.join();
  relay->CloseStdin();
  EXPECT_TRUE(RunUntil([&] { return ::read(pipe, buffer, 1) == 0; }));
  relay->Close();
  EXPECT_TRUE(RunUntil([&] { return serving_ == 0; }));
}

TEST_F(StdioPathTest, ProcessThatHasClosedItsOutputsStillReads) {
  auto process = processes_["e"] = std::make_shared<ProcessIo>(executor());
  std::array<UniqueFd, 3> ends;
  ASSERT_TRUE(process->MakePipes(true, true, true, ends).ok());
  StdioPaths paths;
  paths.in = Fifo("in");
  paths.out = Fifo("out");
  paths.err = Fifo("err");
  UniqueFd out(::open(paths.out.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  UniqueFd err(::open(paths.err.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  auto relay = StartRelay("e", paths);
  ends[1].reset();
  ends[2].reset();
  char buffer[64];
  EXPECT_TRUE(RunUntil([&] { return ::read(out.get(), buffer, 1) == 0 && ::read(err.get(), buffer, 1) == 0; }));
  RunFor(std::chrono::milliseconds(20));

  UniqueFd client(::open(paths.in.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_TRUE(WriteAll(client.get(), "still here").ok());

  ::fcntl(ends[0].get(), F_SETFL, O_NONBLOCK);
  ssize_t n = 0;
  EXPECT_TRUE(RunUntil([&] { return (n = ::read(ends[0].get(), buffer, sizeof(buffer))) > 0; }));
  EXPECT_EQ(std::string(buffer, static_cast<size_t>(std::max<ssize_t>(n, 0))), "still here");
  EXPECT_EQ(serving_, 1u);
  process->ProcessExited();
  EXPECT_TRUE(RunUntil([&] { return serving_ == 0; }));
}

// Nobody reads their output, and their client goes. More than the 4,096 calls of a connection.
TEST_F(StdioPathTest, FiveThousandAbandonedProcessesLeaveNothing) {
  constexpr size_t kExecs = 5000;
  constexpr size_t kAtFirst = 100;  // until what is kept for reuse has been made
  constexpr size_t kGrowthMax = 16u << 20;
  const std::string block(64 << 10, 'b');
  size_t descriptors = 0;
  size_t bytes = 0;
  for (size_t i = 0; i < kExecs; ++i) {
    if (i == kAtFirst) {
      ASSERT_TRUE(RunUntil([&] { return serving_ == 0; }));
      descriptors = OpenDescriptors();
      bytes = ResidentBytes();
    }
    const std::string id = "e" + std::to_string(i);
    auto process = processes_[id] = std::make_shared<ProcessIo>(executor());
    std::array<UniqueFd, 3> ends;
    ASSERT_TRUE(process->MakePipes(true, true, true, ends).ok());
    StdioPaths paths;
    paths.in = Fifo(id + "in");
    paths.out = Fifo(id + "out");
    paths.err = Fifo(id + "err");
    auto relay = StartRelay(id, paths);
    // Until the credit is used up and the pipe is full.
    for (size_t output : {1, 2}) {
      ::fcntl(ends[output].get(), F_SETFL, O_NONBLOCK);
      for (int tries = 0; tries < 3; ++tries) {
        while (::write(ends[output].get(), block.data(), block.size()) > 0) {
          io_.restart();
          io_.poll();
        }
      }
    }
    process->ProcessExited();
    relay->Close();
    processes_.erase(id);
    for (const std::string& path : {paths.in, paths.out, paths.err}) ::unlink(path.c_str());
    io_.restart();
    io_.poll();
  }
  ASSERT_TRUE(RunUntil([&] { return serving_ == 0; }));
  EXPECT_LE(OpenDescriptors(), descriptors);
  EXPECT_LE(ResidentBytes(), bytes + kGrowthMax);
  EXPECT_FALSE(host_->is_closed());
}

// As when the reader of a pipe has gone.
TEST_F(StdioPathTest, ProcessWhoseHostWantsNoMoreIsToldByItsPipe) {
  auto process = processes_["e"] = std::make_shared<ProcessIo>(executor());
  std::array<UniqueFd, 3> ends;
  ASSERT_TRUE(process->MakePipes(true, true, false, ends).ok());
  StdioPaths paths;
  paths.in = Fifo("in");
  paths.out = Fifo("out");
  auto relay = StartRelay("e", paths);
  ASSERT_TRUE(WriteAll(ends[1].get(), "x").ok());
  RunFor(std::chrono::milliseconds(20));

  relay->Close();

  ::signal(SIGPIPE, SIG_IGN);
  EXPECT_TRUE(RunUntil([&] { return ::write(ends[1].get(), "x", 1) < 0 && errno == EPIPE; }));
  char c = 0;
  EXPECT_EQ(::read(ends[0].get(), &c, 1), 0);
  EXPECT_TRUE(RunUntil([&] { return serving_ == 0; }));
}

}  // namespace
}  // namespace kata
