// SPDX-License-Identifier: Apache-2.0
#include "shimv2/stdio/logger.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <sstream>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

namespace kata::shimv2 {
namespace {

using Outcome = absl::StatusOr<std::shared_ptr<Logger>>;

Co<absl::Status> StoreLogger(asio::any_io_executor executor, asio::thread_pool* pool, LoggerOptions options,
                             std::optional<Outcome>* out) {
  auto logger = co_await Logger::Start(executor, *pool, std::move(options));
  out->emplace(std::move(logger));
  co_return absl::OkStatus();
}

Co<absl::Status> StopAndTell(std::shared_ptr<Logger> logger, bool* is_over) {
  co_await logger->Stop();
  *is_over = true;
  co_return absl::OkStatus();
}

class LoggerTest : public testing::Test {
 protected:
  LoggerTest() {
    ::signal(SIGPIPE, SIG_IGN);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);  // as the shim is
    char name[] = "/tmp/logger-XXXXXX";
    directory_ = ::mkdtemp(name);
  }
  ~LoggerTest() override {
    if (logger_) Stop();
    std::filesystem::remove_all(directory_);
  }

  // A script whose working files lie in $D.
  LoggerOptions Script(const std::string& body, std::vector<std::string> more = {}) {
    const std::string path = directory_ + "/logger";
    EXPECT_TRUE(WriteFileAtomically(path, "#!/bin/sh\nD=" + directory_ + "\n" + body, 0700).ok());
    LoggerOptions options;
    options.command.words = {path};
    options.command.words.insert(options.command.words.end(), more.begin(), more.end());
    options.process_id = "box";
    options.name_space = "ns";
    options.term_timeout = std::chrono::milliseconds(500);
    return options;
  }
  absl::Status Start(LoggerOptions options) {
    std::optional<Outcome> outcome;
    Spawn(io_.get_executor(), "starting", StoreLogger(io_.get_executor(), &Pool(), std::move(options), &outcome));
    EXPECT_TRUE(RunUntil([&] { return outcome.has_value(); }));
    if (!outcome->ok()) return outcome->status();
    logger_ = **outcome;
    output_ = logger_->TakeOutput();
    errors_ = logger_->TakeErrors();
    return absl::OkStatus();
  }
  void Stop() {
    bool is_over = false;
    output_.reset();
    errors_.reset();
    Spawn(io_.get_executor(), "stopping", StopAndTell(logger_, &is_over));
    EXPECT_TRUE(RunUntil([&] { return is_over; }));
    logger_.reset();
  }
  template <typename Condition>
  bool RunUntil(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition() && std::chrono::steady_clock::now() < end) {
      io_.restart();
      io_.run_one_for(std::chrono::milliseconds(20));
    }
    return condition();
  }
  std::string Read(const char* name) {
    const std::string path = directory_ + "/" + name;
    if (!RunUntil([&] { return std::filesystem::exists(path); })) return "(no such file)";
    auto text = ReadFile(path, 1u << 20);
    return text.ok() ? *text : "(unreadable)";
  }

  // Made when it is wanted: a test that forks must have no other thread, or the child may wait for its locks for ever.
  asio::thread_pool& Pool() { return pool_ ? *pool_ : pool_.emplace(1); }

  asio::io_context io_{1};
  std::optional<asio::thread_pool> pool_;
  std::string directory_;
  std::shared_ptr<Logger> logger_;
  UniqueFd output_;
  UniqueFd errors_;
};

TEST_F(LoggerTest, GetsBothStreamsItsWordsAndNothingElse) {
  UniqueFd inheritable(::fcntl(STDIN_FILENO, F_DUPFD, 20));
  ASSERT_TRUE(Start(Script("printf '%s ' \"$@\" > $D/words\n"
                           "tr '\\0' '\\n' < /proc/$$/environ | sort | tr '\\n' ' ' > $D/environment\n"
                           "for i in 0 1 2 3 4 5 6 7 8 9 11 12 13 14 15 16 17 18 19 20 21 22 23 24; do\n"
                           "  [ -e /proc/$$/fd/$i ] && printf '%s ' $i\ndone > $D/descriptors\n"
                           "exec 5>&-\n"
                           "cat <&4 > $D/errors.tmp\ncat <&3 > $D/output.tmp\n"
                           "mv $D/errors.tmp $D/errors\nmv $D/output.tmp $D/output\n",
                           {"key", "value"}))
                  .ok());
  ASSERT_TRUE(WriteAll(output_.get(), "to stdout").ok());
  ASSERT_TRUE(WriteAll(errors_.get(), "to stderr").ok());
  output_.reset();
  errors_.reset();

  EXPECT_EQ(Read("output"), "to stdout");
  EXPECT_EQ(Read("errors"), "to stderr");
  EXPECT_EQ(Read("words"), "key value ");
  EXPECT_EQ(Read("environment"), "CONTAINER_ID=box CONTAINER_NAMESPACE=ns ");
  // The shell reads its script from descriptor 10 and keeps its own output at another while the loop's is redirected.
  EXPECT_EQ(Read("descriptors").substr(0, 12), "0 1 2 3 4 5 ");
  EXPECT_LE(Read("descriptors").size(), 15u);
}

TEST_F(LoggerTest, LivesInAProcessGroupOfItsOwnWithAllSignals) {
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  ASSERT_TRUE(Start(Script("grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -c9-24 > $D/s.tmp\n"
                           "mv $D/s.tmp $D/signals\n"
                           "exec 5>&-\ncat <&3\n"))
                  .ok());
  ::pthread_sigmask(SIG_UNBLOCK, &blocked, nullptr);

  EXPECT_EQ(::getpgid(logger_->pid()), logger_->pid());
  // Two that the C library keeps for itself, numbers 32 and 33, are of no concern.
  std::istringstream signals(Read("signals"));
  uint64_t mask_blocked = ~uint64_t{0};
  uint64_t mask_ignored = ~uint64_t{0};
  signals >> std::hex >> mask_blocked >> mask_ignored;
  EXPECT_EQ(mask_blocked, 0u);
  EXPECT_EQ(mask_ignored & 0x7fffffffu, 0u);
}

TEST_F(LoggerTest, IsWaitedForUntilItIsReady) {
  LoggerOptions options = Script("while [ ! -e $D/go ]; do sleep 0.01; done\nexec 5>&-\ncat <&3\n");
  std::optional<Outcome> outcome;
  Spawn(io_.get_executor(), "starting", StoreLogger(io_.get_executor(), &Pool(), std::move(options), &outcome));
  io_.run_for(std::chrono::milliseconds(100));
  EXPECT_FALSE(outcome.has_value());

  ASSERT_TRUE(WriteFileAtomically(directory_ + "/go", "", 0600).ok());

  ASSERT_TRUE(RunUntil([&] { return outcome.has_value(); }));
  ASSERT_TRUE(outcome->ok()) << outcome->status();
  logger_ = **outcome;
}

TEST_F(LoggerTest, ThatIsNeverReadyFailsAndIsKilled) {
  LoggerOptions options = Script("echo $$ > $D/p\nmv $D/p $D/pid\nsleep 1000\n");
  options.ready_timeout = std::chrono::milliseconds(300);
  options.term_timeout = std::chrono::seconds(60);  // the shell ends at once; what it leaves goes with it

  const absl::Status status = Start(options);

  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(status.message().find("was not ready within 300 ms"), std::string::npos);
  EXPECT_EQ(::kill(-std::stoi(Read("pid")), 0), -1);
}

TEST_F(LoggerTest, OfTheSecondVersionMustSayThatItIsReady) {
  LoggerOptions options = Script("exec 5>&-\ncat <&3\n");
  options.command.must_say_ready = true;
  const absl::Status silent = Start(options);
  EXPECT_NE(silent.message().find("closed its ready pipe without a word"), std::string::npos) << silent;

  options = Script("printf x >&5\nexec 5>&-\ncat <&3\n");
  options.command.must_say_ready = true;
  EXPECT_TRUE(Start(options).ok());
}

TEST_F(LoggerTest, ThatIgnoresSigtermIsKilledWithItsChildren) {
  ASSERT_TRUE(Start(Script("trap '' TERM\nsleep 1000 5>&- & echo $! > $D/p\nmv $D/p $D/child\nexec 5>&-\n"
                           "while true; do sleep 0.01; done\n"))
                  .ok());
  const pid_t pid = logger_->pid();
  const int child = std::stoi(Read("child"));

  Stop();

  EXPECT_EQ(::kill(pid, 0), -1) << "not collected";
  const auto is_gone = [child] {
    auto stat = ReadFile("/proc/" + std::to_string(child) + "/stat", 4096);
    return !stat.ok() || stat->find(") Z ") != std::string::npos;
  };
  EXPECT_TRUE(RunUntil(is_gone));
}

TEST_F(LoggerTest, ThatDiesIsNoticedAndCollected) {
  ASSERT_TRUE(Start(Script("exec 5>&-\ncat <&3\n")).ok());
  const pid_t pid = logger_->pid();
  EXPECT_FALSE(logger_->has_ended());

  ::kill(-pid, SIGKILL);

  EXPECT_TRUE(RunUntil([&] { return logger_->has_ended(); }));
  EXPECT_EQ(::kill(pid, 0), -1) << "not collected";
  // Its child may take a moment longer.
  EXPECT_TRUE(RunUntil([&] { return !WriteAll(output_.get(), "x").ok(); }));
}

TEST_F(LoggerTest, EndsWhenTheShimIsKilled) {
  const pid_t shim = ::fork();
  if (shim == 0) {
    // Stands for the shim: starts a logger and dies without a word.
    asio::io_context io{1};
    asio::thread_pool pool{1};
    std::optional<Outcome> outcome;
    LoggerOptions options = Script("exec 5>&-\ncat <&3 > /dev/null\ncat <&4 > /dev/null\ntouch $D/end\n");
    Spawn(io.get_executor(), "starting", StoreLogger(io.get_executor(), &pool, std::move(options), &outcome));
    while (!outcome.has_value()) io.run_one();
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(shim, &status, 0), shim);

  EXPECT_EQ(Read("end"), "");
}

TEST_F(LoggerTest, ThatDoesNotExistIsNamed) {
  LoggerOptions options;
  options.command.words = {"/nonexistent/logger"};

  EXPECT_EQ(Start(options).message(), "starting logger \"/nonexistent/logger\": no such file or directory");
}

TEST(LoggerUri, GivesThePathAndTheQuerysWords) {
  auto command = ParseLoggerUri("binary:///usr/bin/log%20ger?key=a%26b&flag&key=second&plus=a+b#fragment");

  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->words, (std::vector<std::string>{"/usr/bin/log ger", "key", "a&b", "flag", "", "plus", "a b"}));
  EXPECT_FALSE(command->must_say_ready);
  EXPECT_TRUE(ParseLoggerUri("binary-v2:///logger")->must_say_ready);
  const std::string path = "/run/" + std::string(200, 'p');
  const std::string value = "/run/" + std::string(200, 'v');
  command = ParseLoggerUri("binary://" + path + "?out=" + value);
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->words, (std::vector<std::string>{path, "out", value}));
}

TEST(LoggerUri, RefusesWhatIsNoAbsolutePath) {
  for (const char* uri : {"binary://logger", "binary://", "binary-v2://relative/logger", "fifo:///x", "binary:///a%0",
                          "binary:///a%zz", "binary:///a%00b", "binary:///a?k=%0"}) {
    EXPECT_EQ(ParseLoggerUri(uri).status().code(), absl::StatusCode::kInvalidArgument) << uri;
  }
}

}  // namespace
}  // namespace kata::shimv2
