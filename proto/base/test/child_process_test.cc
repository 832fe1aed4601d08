// SPDX-License-Identifier: Apache-2.0
#include "proto/base/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include <gtest/gtest.h>

#include "proto/base/process.h"

namespace kata {
namespace {

constexpr std::chrono::seconds kTimeout{20};

struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    read.reset(ends[0]);
    write.reset(ends[1]);
  }
  UniqueFd read;
  UniqueFd write;
};

ChildOptions Shell(const std::string& script) {
  ChildOptions options;
  options.name = "test";
  options.words = {"/bin/sh", "-c", script};
  return options;
}

// What a script writes to its standard output.
std::string OutputOf(ChildOptions options) {
  Pipe pipe;
  options.output = pipe.write.get();
  auto child = StartChild(options);
  EXPECT_TRUE(child.ok()) << child.status();
  if (!child.ok()) return "";
  pipe.write.reset();
  auto text = ReadAll(pipe.read.get(), 65536);
  EXPECT_TRUE(EndChild(*child, "test", kTimeout).ok());
  return text.value_or("nothing");
}

TEST(ChildProcess, HasItsWordsAndItsEnvironmentOnly) {
  ChildOptions options = Shell("echo \"$0 $A $HOME\"; env | grep -c =");
  options.words.push_back("word");
  options.environment = {"A=1", "PATH=/bin"};
  EXPECT_EQ(OutputOf(std::move(options)), "word 1 \n3\n");  // sh adds PWD
}

TEST(ChildProcess, HasItsNameItsDirectoryAndItsInput) {
  ChildOptions options = Shell("");
  options.words = {"another", "-c", "cat /proc/$$/cmdline | tr '\\0' ' '; pwd; cat"};
  options.program = "/bin/sh";
  options.directory = "/usr/lib";
  options.environment = {"PATH=/bin"};
  Pipe pipe;
  ASSERT_TRUE(WriteAll(pipe.write.get(), "given").ok());
  pipe.write.reset();
  options.input = pipe.read.get();
  const std::string output = OutputOf(std::move(options));
  EXPECT_EQ(output.substr(0, 11), "another -c ");
  EXPECT_EQ(output.substr(output.size() - 14), "/usr/lib\ngiven");
}

TEST(ChildProcess, SaysThatItsDirectoryIsMissing) {
  ChildOptions options = Shell("true");
  options.directory = "/nowhere";
  const std::string message(StartChild(options).status().message());
  EXPECT_EQ(message.substr(0, 49), "starting test \"/bin/sh\": entering its directory: ");
}

TEST(ChildProcess, FindsItsDescriptorsFromThreeOnAndNoOthers) {
  Pipe first;
  Pipe second;
  ASSERT_TRUE(WriteAll(first.write.get(), "first").ok());
  ASSERT_TRUE(WriteAll(second.write.get(), "second").ok());
  ChildOptions options = Shell("head -c 6 <&3; head -c 5 <&4; ls /proc/self/fd | tr '\\n' ' '");
  options.environment = {"PATH=/bin"};
  // Their numbers are those that the child has them under, the other way round.
  UniqueFd three(::fcntl(first.read.get(), F_DUPFD_CLOEXEC, 3));
  options.descriptors = {second.read.get(), first.read.get()};
  EXPECT_EQ(OutputOf(std::move(options)), "secondfirst0 1 2 3 4 5 ");  // 5: the listing's own
}

TEST(ChildProcess, BeginsWithoutItsParentsSignals) {
  ::signal(SIGUSR1, SIG_IGN);
  ChildOptions options = Shell("grep -E '^Sig(Ign|Blk)' /proc/self/status | cut -f 2 | tr '\\n' ' '");
  options.environment = {"PATH=/bin"};
  EXPECT_EQ(OutputOf(std::move(options)), "0000000000000000 0000000000000000 ");
  ::signal(SIGUSR1, SIG_DFL);
}

TEST(ChildProcess, MissingProgramIsNamed) {
  ChildOptions options;
  options.name = "daemon";
  options.words = {"/nonexistent/program"};
  EXPECT_EQ(StartChild(options).status().message(),
            "starting daemon \"/nonexistent/program\": no such file or directory");
}

TEST(ChildProcess, WhatCannotBePreparedIsNamed) {
  ChildOptions options = Shell("true");
  options.prepare = [] {
    errno = EPERM;
    return "painting it green";
  };
  EXPECT_EQ(StartChild(options).status().message(),
            "starting test \"/bin/sh\": painting it green: operation not permitted");
}

TEST(ChildProcess, RefusedByItsParentLeavesNoProcess) {
  pid_t seen = 0;
  Pipe pipe;
  ChildOptions options = Shell("echo it runs");
  options.output = pipe.write.get();
  auto child = StartChild(options, [&seen](pid_t pid) {
    seen = pid;
    ::usleep(50000);  // time in which it could have run
    return absl::InternalError("no");
  });
  pipe.write.reset();
  EXPECT_EQ(ReadAll(pipe.read.get(), 65536).value_or("nothing"), "");
  EXPECT_EQ(child.status().message(), "no");
  ASSERT_GT(seen, 0);
  EXPECT_EQ(::kill(seen, 0), -1);
}

TEST(ChildProcess, EndsOnceAndLeavesNoZombie) {
  auto child = StartChild(Shell("trap '' TERM; while :; do sleep 1000; done"));
  ASSERT_TRUE(child.ok()) << child.status();
  const pid_t pid = child->pid;
  EXPECT_EQ(::getpgid(pid), pid);
  EXPECT_FALSE(HasEnded(child->pidfd.get(), std::chrono::milliseconds(0)));
  EXPECT_TRUE(EndChild(*child, "test", kTimeout).ok());
  EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), -1);
  EXPECT_TRUE(EndChild(*child, "test", kTimeout).ok());
  ::kill(-pid, SIGKILL);  // its sleep
}

TEST(ChildProcess, ParentThatIsKilledBeforeItHasNotedTheChildLeavesNone) {
  Pipe pipe;
  const pid_t parent = ::fork();
  ASSERT_GE(parent, 0);
  if (parent == 0) {
    ChildOptions options = Shell("echo it runs; exec sleep 1000");
    options.output = pipe.write.get();
    options.leads_session = true;
    auto child = StartChild(options, [](pid_t) -> absl::Status {
      ::raise(SIGKILL);
      return absl::OkStatus();
    });
    ::_exit(1);
  }
  pipe.write.reset();
  int status = 0;
  ASSERT_EQ(::waitpid(parent, &status, 0), parent);
  EXPECT_TRUE(WIFSIGNALED(status));
  // End of file comes when nobody holds the pipe any more.
  EXPECT_EQ(ReadAll(pipe.read.get(), 65536).value_or("nothing"), "");
}

TEST(ChildProcess, LeadsASessionAndDiesWithItsParent) {
  Pipe pipe;
  const pid_t parent = ::fork();
  ASSERT_GE(parent, 0);
  if (parent == 0) {
    ChildOptions options = Shell("echo $$; exec sleep 1000");
    options.environment = {"PATH=/bin"};
    options.output = pipe.write.get();
    options.leads_session = true;
    options.dies_with_parent = true;
    auto child = StartChild(options);
    ::_exit(child.ok() && ::getsid(child->pid) == child->pid ? 0 : 1);
  }
  pipe.write.reset();
  int status = -1;
  ASSERT_EQ(::waitpid(parent, &status, 0), parent);
  EXPECT_EQ(status, 0);
  // End of file comes when nobody holds the pipe any more.
  EXPECT_TRUE(ReadAll(pipe.read.get(), 65536).ok());
}

}  // namespace
}  // namespace kata
