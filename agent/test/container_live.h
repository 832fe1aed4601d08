// SPDX-License-Identifier: Apache-2.0
// Whole containers on the machine that builds: needs root and a cgroup (version 2) hierarchy, which
// need not have any controller. The root is a temporary directory with the machine's /usr.
#pragma once

#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "agent/container/container.h"
#include "agent/test/control_files.h"

namespace kata::agent {

namespace fs = std::filesystem;

inline std::string FindCgroupMount() {
  std::ifstream mounts("/proc/self/mounts");
  std::string source, target, type, rest;
  while (mounts >> source >> target >> type && std::getline(mounts, rest)) {
    if (type == "cgroup2") return target;
  }
  return "";
}

inline Co<void> Into(absl::Status* out, Co<absl::Status> task) { *out = co_await std::move(task); }
inline Co<void> IntoPid(absl::Status* out, Co<absl::StatusOr<pid_t>> task) {
  absl::StatusOr<pid_t> pid = co_await std::move(task);
  *out = pid.status();
}
inline Co<void> IntoStatus(int* out, std::shared_ptr<Process> process) {
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
    ASSERT_EQ(::mkdir((parent_ + "/.setup").c_str(), 0755), 0);
    // As PID 1, this process gets the children of those that it makes.
    ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
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
    // One that was killed may still be on its way.
    for (int i = 0; i < 200 && ::rmdir((parent_ + "/.setup").c_str()) != 0; ++i) {
      context_.run_for(std::chrono::milliseconds(20));
      context_.restart();
    }
    EXPECT_FALSE(fs::exists(parent_ + "/.setup")) << "a process is still being set up";
    EXPECT_EQ(::rmdir(parent_.c_str()), 0) << "a cgroup is left";
  }
  void Make(std::chrono::milliseconds set_up_timeout = kSetUpTimeout) {
    Container::Collaborators collaborators{.exits = &exits_,
                                           .watcher = &watcher_,
                                           .parent_cgroup = parent_,
                                           .set_up_cgroup = parent_ + "/.setup",
                                           .set_up_timeout = set_up_timeout};
    container_ = std::make_shared<Container>(context_.get_executor(), std::move(collaborators), "one");
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
  int ExitOfShell(const std::string& script) {
    absl::Status status = Exec("script", ExecOf({"/bin/sh", "-c", script}));
    EXPECT_TRUE(status.ok()) << status;
    if (!status.ok()) return -1;
    const int exit = ExitOf("script");
    EXPECT_TRUE(container_->RemoveExec("script").ok());
    return exit;
  }
  void Profile(std::vector<std::string> refused) {
    SeccompProfile profile;
    profile.default_action = "SCMP_ACT_ALLOW";
    profile.rules.push_back({.names = std::move(refused), .action = "SCMP_ACT_ERRNO", .errno_ret = {}, .args = {}});
    spec_.seccomp = profile;
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

}  // namespace kata::agent
