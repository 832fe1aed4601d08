// SPDX-License-Identifier: Apache-2.0
// Whole containers on the machine that builds: needs root and a cgroup (version 2) hierarchy, which
// need not have any controller. The root is a temporary directory with the machine's /usr.
#include "agent/container.h"

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include <absl/strings/str_join.h>
#include <gtest/gtest.h>

#include "agent/test/control_files.h"

namespace kata::agent {
namespace {

namespace fs = std::filesystem;

std::string FindCgroupMount() {
  std::ifstream mounts("/proc/self/mounts");
  std::string source, target, type, rest;
  while (mounts >> source >> target >> type && std::getline(mounts, rest)) {
    if (type == "cgroup2") return target;
  }
  return "";
}

Co<void> Into(absl::Status* out, Co<absl::Status> task) { *out = co_await std::move(task); }
Co<void> IntoPid(absl::Status* out, Co<absl::StatusOr<pid_t>> task) {
  absl::StatusOr<pid_t> pid = co_await std::move(task);
  *out = pid.status();
}
Co<void> IntoStatus(int* out, std::shared_ptr<Process> process) {
  co_await process->exited.Wait();
  *out = process->exit_status;
}

class ContainerLive : public testing::Test {
 protected:
  void SetUp() override {
    cgroups_ = FindCgroupMount();
    if (::geteuid() != 0 || cgroups_.empty()) GTEST_SKIP() << "needs root and cgroup2";
    parent_ = cgroups_ + "/kata-agent-test-" + std::to_string(::getpid());
    if (::mkdir(parent_.c_str(), 0755) != 0) GTEST_SKIP() << "the cgroup2 hierarchy is read-only";
    ::chmod(root_.path().c_str(), 0755);
    for (const char* name : {"bin", "lib", "lib64", "sbin"}) {
      std::error_code error;
      const fs::path target = fs::read_symlink(std::string("/") + name, error);
      if (!error) fs::create_symlink(target, root_.path() + "/" + name);
    }
    fs::create_directories(root_.path() + "/etc");
    spec_.root_path = root_.path();
    spec_.process.args = {"/usr/bin/sleep", "1000"};
    spec_.process.env = {"HOME=/", "PATH=/usr/bin:/bin"};
    spec_.mounts = {{"/proc", "proc", "proc", {}},
                    {"/dev", "tmpfs", "tmpfs", {"mode=755"}},
                    {"/usr", "bind", "/usr", {"rbind", "ro"}}};
    spec_.namespaces.has_pid = spec_.namespaces.has_ipc = spec_.namespaces.has_uts = true;
    Spawn(context_.get_executor(), "reaper", exits_.Run());
    Make();
  }
  void TearDown() override {
    if (container_ == nullptr) return;
    EXPECT_TRUE(Remove().ok());
    EXPECT_EQ(::rmdir(parent_.c_str()), 0) << "a cgroup is left";
  }
  void Make(std::chrono::milliseconds set_up_timeout = kSetUpTimeout) {
    Container::Collaborators collaborators{.exits = &exits_,
                                           .watcher = &watcher_,
                                           .parent_cgroup = parent_,
                                           .set_up_timeout = set_up_timeout};
    container_ =
        std::make_shared<Container>(context_.get_executor(), std::move(collaborators), "one");
  }
  absl::Status Await(Co<absl::Status> task) {
    absl::Status status = absl::UnknownError("not run");
    RunCo(context_, Into(&status, std::move(task)));
    return status;
  }
  absl::Status Create() { return Await(container_->Create(spec_, StdioWanted(), nullptr)); }
  absl::Status Remove() { return Await(container_->Remove()); }
  absl::Status Run() {
    absl::Status status = Create();
    return status.ok() ? Await(container_->Start()) : status;
  }
  ProcessSpec ExecOf(std::vector<std::string> args) {
    ProcessSpec spec = spec_.process;
    spec.args = std::move(args);
    return spec;
  }
  absl::Status Exec(const std::string& id, ProcessSpec spec) {
    absl::Status status = absl::UnknownError("not run");
    RunCo(context_, IntoPid(&status, container_->Exec(id, std::move(spec), StdioWanted())));
    return status;
  }
  int ExitOf(const std::string& id) {
    int status = -1;
    RunCo(context_, IntoStatus(&status, container_->Find(id)));
    return status;
  }
  // Opening it blocks whoever looks for the user's home directory: a set-up that hangs.
  void MakeSetUpHang() { ASSERT_EQ(::mkfifo((root_.path() + "/etc/passwd").c_str(), 0644), 0); }
  static std::vector<std::string> WithoutHome() { return {"PATH=/usr/bin:/bin"}; }

  ControlFiles root_;
  std::string cgroups_;
  std::string parent_;
  ContainerSpec spec_;
  asio::io_context context_{1};
  ExitTable exits_;
  FileWatcher watcher_{context_.get_executor()};
  std::shared_ptr<Container> container_;
};

TEST_F(ContainerLive, APausedOneRefusesExecsUntilItResumes) {
  ASSERT_TRUE(Run().ok());
  absl::Status paused = Await(container_->Pause());
  ASSERT_TRUE(paused.ok()) << paused;
  EXPECT_TRUE(absl::IsFailedPrecondition(Await(container_->Pause())));
  EXPECT_TRUE(absl::IsFailedPrecondition(Exec("a", ExecOf({"/usr/bin/true"}))));

  absl::Status resumed = Await(container_->Resume());

  ASSERT_TRUE(resumed.ok()) << resumed;
  EXPECT_TRUE(absl::IsFailedPrecondition(Await(container_->Resume())));
  absl::Status executed = Exec("a", ExecOf({"/usr/bin/true"}));
  ASSERT_TRUE(executed.ok()) << executed;
  EXPECT_EQ(ExitOf("a"), 0);
}

TEST_F(ContainerLive, APausedOneDoesNotRun) {
  spec_.process.args = {"/usr/bin/sleep", "0.05"};
  ASSERT_TRUE(Run().ok());
  ASSERT_TRUE(Await(container_->Pause()).ok());
  context_.run_for(std::chrono::milliseconds(150));
  context_.restart();
  EXPECT_FALSE(container_->Find("")->exited.is_set());

  ASSERT_TRUE(Await(container_->Resume()).ok());

  EXPECT_EQ(ExitOf(""), 0);
}

TEST_F(ContainerLive, APausedOneCanBeKilled) {
  ASSERT_TRUE(Run().ok());
  ASSERT_TRUE(Await(container_->Pause()).ok());

  EXPECT_TRUE(container_->Signal("", SIGKILL, false).ok());

  EXPECT_EQ(ExitOf(""), 128 + SIGKILL);
}

TEST_F(ContainerLive, APausedOneCanBeRemoved) {
  ASSERT_TRUE(Run().ok());
  ASSERT_TRUE(Await(container_->Pause()).ok());

  EXPECT_TRUE(Remove().ok());
  EXPECT_FALSE(fs::exists(parent_ + "/one"));
  EXPECT_TRUE(absl::IsFailedPrecondition(Await(container_->Resume())));
}

TEST_F(ContainerLive, OnlyARunningOneCanBePaused) {
  ASSERT_TRUE(Create().ok());

  EXPECT_TRUE(absl::IsFailedPrecondition(Await(container_->Pause())));
}

TEST_F(ContainerLive, ASetUpThatHangsEndsWithAnError) {
  MakeSetUpHang();
  spec_.process.env = WithoutHome();
  Make(std::chrono::milliseconds(100));

  absl::Status status = Create();

  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_FALSE(fs::exists(parent_ + "/one"));
}

TEST_F(ContainerLive, AnExecThatHangsEndsWithAnErrorAndGivesItsIdBack) {
  MakeSetUpHang();
  Make(std::chrono::milliseconds(500));
  ASSERT_TRUE(Run().ok());
  ProcessSpec hanging = ExecOf({"/usr/bin/true"});
  hanging.env = WithoutHome();

  EXPECT_TRUE(absl::IsDeadlineExceeded(Exec("a", hanging)));

  EXPECT_TRUE(Exec("a", ExecOf({"/usr/bin/true"})).ok());
  EXPECT_FALSE(container_->Find("")->exited.is_set());
}

TEST_F(ContainerLive, RemovalEndsAnUnfinishedCreation) {
  MakeSetUpHang();
  spec_.process.env = WithoutHome();
  absl::Status created;
  asio::co_spawn(context_, Into(&created, container_->Create(spec_, StdioWanted(), nullptr)),
                 [](std::exception_ptr) {});
  context_.run_for(std::chrono::milliseconds(100));
  context_.restart();

  EXPECT_TRUE(Remove().ok());
  context_.run_for(std::chrono::milliseconds(100));
  context_.restart();

  EXPECT_TRUE(absl::IsFailedPrecondition(created)) << created;
  EXPECT_FALSE(fs::exists(parent_ + "/one"));
  EXPECT_TRUE(absl::IsFailedPrecondition(Await(container_->Start())));
}

TEST_F(ContainerLive, RemovalEndsAnUnfinishedExec) {
  MakeSetUpHang();
  ASSERT_TRUE(Run().ok());
  ProcessSpec hanging = ExecOf({"/usr/bin/true"});
  hanging.env = WithoutHome();
  absl::Status executed;
  asio::co_spawn(context_, IntoPid(&executed, container_->Exec("a", hanging, StdioWanted())),
                 [](std::exception_ptr) {});
  context_.run_for(std::chrono::milliseconds(100));
  context_.restart();

  EXPECT_TRUE(Remove().ok());
  context_.run_for(std::chrono::milliseconds(100));
  context_.restart();

  EXPECT_TRUE(absl::IsFailedPrecondition(executed)) << executed;
  EXPECT_FALSE(fs::exists(parent_ + "/one"));
}

TEST_F(ContainerLive, TwoRemovalsAtOnceBothSucceed) {
  ASSERT_TRUE(Run().ok());
  absl::Status other = absl::UnknownError("not run");
  asio::co_spawn(context_, Into(&other, container_->Remove()), [](std::exception_ptr) {});

  EXPECT_TRUE(Remove().ok());
  context_.run_for(std::chrono::milliseconds(50));
  context_.restart();
  EXPECT_TRUE(other.ok()) << other;
}

TEST_F(ContainerLive, RemovalReleasesWhoWaitsForOomKills) {
  ASSERT_TRUE(Run().ok());
  auto oom = container_->oom();
  ASSERT_NE(oom, nullptr);

  EXPECT_TRUE(Remove().ok());

  absl::StatusOr<uint64_t> kills = uint64_t{0};
  auto wait = [](std::shared_ptr<OomWatch> watch, absl::StatusOr<uint64_t>* out) -> Co<void> {
    *out = co_await watch->Wait(0);
  };
  RunCo(context_, wait(oom, &kills));
  EXPECT_TRUE(absl::IsNotFound(kills.status()));
}

TEST_F(ContainerLive, ANamespaceOfAnUnknownProcessIsAnError) {
  spec_.namespaces.ipc_path = "/proc/4711/ns/ipc";

  absl::Status status = Create();

  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_NE(status.message().find("ipc at \"/proc/4711/ns/ipc\""), std::string::npos) << status;
}

TEST_F(ContainerLive, ATmpfsCopiesUpWhatItCovers) {
  fs::create_directories(root_.path() + "/data/sub");
  root_.Write("data/sub/file", "x");
  ::chmod((root_.path() + "/data").c_str(), 0750);
  spec_.mounts.push_back({"/data", "tmpfs", "tmpfs", {"tmpcopyup", "ro", "size=1m"}});
  spec_.process.args = {"/bin/sh", "-c",
                        "test -f /data/sub/file && test \"$(stat -c %a /data)\" = 750 && "
                        "! touch /data/new 2>/dev/null"};
  ASSERT_TRUE(Run().ok());

  EXPECT_EQ(ExitOf(""), 0);
}

TEST_F(ContainerLive, ARecursiveReadOnlyBindCoversTheMountsBelow) {
  const fs::path cgroups(cgroups_);
  const std::string inner = "/cg/" + cgroups.filename().string() + "/" +
                            fs::path(parent_).filename().string() + "/written";
  spec_.mounts.push_back({"/cg", "bind", cgroups.parent_path().string(), {"rbind", "rro"}});
  spec_.process.args = {"/bin/sh", "-c", "! mkdir " + inner + " 2>/dev/null"};
  ASSERT_TRUE(Run().ok());

  EXPECT_EQ(ExitOf(""), 0);
  ::rmdir((parent_ + "/written").c_str());
}

}  // namespace
}  // namespace kata::agent
