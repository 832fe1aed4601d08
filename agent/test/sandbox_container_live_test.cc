// SPDX-License-Identifier: Apache-2.0
#include <sys/mount.h>

#include <cerrno>
#include <csignal>
#include <set>

#include <absl/strings/strip.h>

#include "agent/pause/pause.h"
#include "agent/test/container_live.h"

namespace kata::agent {
namespace {

class SandboxContainerLive : public ContainerLive {
 protected:
  void SetUp() override {
    ContainerLive::SetUp();
    if (IsSkipped()) return;
    image_ = spec_;
    // What an image and an engine bring along, none of which is there.
    spec_.process.args = {"/there-is-no-such-program"};
    spec_.process.cwd = "/nowhere";
    spec_.mounts.push_back({"/etc/resolv.conf", "bind", "/there-is-no-such-file", {"rbind"}});
    spec_.masked_paths = {"/proc/kcore"};
    MakeSandboxContainer(spec_, root_.path());
  }
  std::string Proc(const std::string& path) const {
    return "/proc/" + std::to_string(container_->Find("")->pid) + "/" + path;
  }
  std::string Children() const {
    const std::string pid = std::to_string(container_->Find("")->pid);
    return ReadFile(Proc("task/" + pid + "/children"), 4096).value_or("?");
  }
  template <typename Condition>
  bool Wait(Condition condition) {
    for (int i = 0; i < 500 && !condition(); ++i) {
      context_.run_for(std::chrono::milliseconds(10));
      context_.restart();
    }
    return condition();
  }
  // A container of the pod, which joins all that it can.
  std::shared_ptr<Container> Join(const std::string& script) {
    ContainerSpec spec = image_;
    spec.namespaces.pid_path = spec.namespaces.ipc_path = spec.namespaces.uts_path = "/proc/1/ns/x";
    if (spec.namespaces.has_user) spec.namespaces.user_path = "/proc/1/ns/x";
    spec.process.args = {"/bin/sh", "-c", script};
    auto shared = container_->OpenNamespaces();
    EXPECT_TRUE(shared.ok()) << shared.status();
    Container::Collaborators collaborators{
        .exits = &exits_, .watcher = &watcher_, .parent_cgroup = parent_, .set_up_cgroup = parent_ + "/.setup"};
    auto made = std::make_shared<Container>(context_.get_executor(), std::move(collaborators), "two");
    absl::Status created = Await(made->Create(spec, StdioWanted(), &*shared));
    EXPECT_TRUE(created.ok()) << created;
    if (!created.ok()) return made;
    absl::Status started = Await(made->Start());
    EXPECT_TRUE(started.ok()) << started;
    return made;
  }
  int EndOf(const std::shared_ptr<Container>& other) {
    int status = -1;
    if (other->Find("") != nullptr) RunCo(context_, IntoStatus(&status, other->Find("")));
    EXPECT_TRUE(Await(other->Remove()).ok());
    return status;
  }

  ContainerSpec image_;
};

TEST_F(SandboxContainerLive, HasNothingOfAnImageAndNothingOfTheAgent) {
  ASSERT_TRUE(Run().ok());

  EXPECT_EQ(ReadFile(Proc("cmdline"), 64).value_or(""), std::string("/pause\0", 7));
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(Proc("root"))) names.insert(entry.path().filename());
  EXPECT_EQ(names, (std::set<std::string>{"dev", "pause"}));
  std::set<std::string> open;
  for (const auto& entry : fs::directory_iterator(Proc("fd"))) open.insert(fs::read_symlink(entry.path()));
  EXPECT_EQ(open, (std::set<std::string>{"/dev/null"}));
  // Whoever can reach the program there cannot change it.
  ASSERT_NE(::chmod(Proc("root/pause").c_str(), 0777), 0);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(::open(Proc("exe").c_str(), O_WRONLY | O_CLOEXEC), -1);
  // Small enough to be had in each pod.
  EXPECT_LT(fs::file_size(Proc("root/pause")), 4096u);
}

TEST_F(SandboxContainerLive, EndsAsThePauseProgramDoes) {
  for (const auto& [signal, status] : {std::pair{SIGTERM, 0}, {SIGINT, 0}, {SIGKILL, 128 + SIGKILL}}) {
    ASSERT_TRUE(Run().ok());
    // Not held by what it does not know.
    EXPECT_TRUE(Await(container_->Signal("", SIGHUP, false)).ok());
    EXPECT_TRUE(Await(container_->Signal("", signal, false)).ok());
    EXPECT_EQ(ExitOf(""), status) << signal;
    ASSERT_TRUE(Remove().ok());
    Make();
  }
}

TEST_F(SandboxContainerLive, CanBePausedAndResumed) {
  ASSERT_TRUE(Run().ok());
  EXPECT_TRUE(Await(container_->Pause()).ok());
  EXPECT_TRUE(Await(container_->Resume()).ok());
  EXPECT_FALSE(container_->Find("")->exited.is_set());
}

TEST_F(SandboxContainerLive, OthersShareItsNamespacesAndItReapsForThem) {
  spec_.hostname = "the-pod";
  spec_.sysctls = {{"kernel.msgmax", "4321"}};
  ASSERT_TRUE(Run().ok());

  auto other = Join(
      "(sleep 1000 &); test $(hostname) = the-pod && test $(cat /proc/sys/kernel/msgmax) = 4321 && "
      "grep -q '^/pause' /proc/1/cmdline && kill -TERM $$");

  // It ended of its own signal, so all before was true.
  EXPECT_EQ(EndOf(other), 128 + SIGTERM);
  EXPECT_FALSE(container_->Find("")->exited.is_set());
  EXPECT_TRUE(Wait([this] { return Children().empty(); })) << Children();
}

TEST_F(SandboxContainerLive, AnOrphanIsReapedWhenItEnds) {
  ASSERT_TRUE(Run().ok());
  auto other = Join("(sleep 1000 &); exec sleep 1000");
  ASSERT_TRUE(Wait([this] { return !Children().empty(); }));
  const pid_t orphan = std::stoi(Children());

  ASSERT_EQ(::kill(orphan, SIGKILL), 0);

  EXPECT_TRUE(Wait([this] { return Children().empty(); })) << Children();
  EXPECT_NE(::kill(orphan, 0), 0);
  EXPECT_TRUE(Await(other->Signal("", SIGKILL, false)).ok());
  EXPECT_EQ(EndOf(other), 128 + SIGKILL);
}

TEST_F(SandboxContainerLive, IsWithoutAPidNamespaceToo) {
  spec_.namespaces.has_pid = false;
  ASSERT_TRUE(Run().ok());
  EXPECT_TRUE(Await(container_->Signal("", SIGTERM, false)).ok());
  EXPECT_EQ(ExitOf(""), 0);
}

TEST_F(SandboxContainerLive, MayHaveATerminalAUserAndAFilter) {
  spec_ = image_;
  spec_.process.terminal = true;
  spec_.process.uid = spec_.process.gid = 65535;
  spec_.process.no_new_privileges = true;
  spec_.process.capabilities.emplace();
  spec_.mounts.push_back({"/dev/pts", "devpts", "devpts", {"newinstance", "ptmxmode=0666"}});
  Profile({"mkdir", "open", "openat"});
  MakeSandboxContainer(spec_, root_.path());
  absl::Status run = Run();
  ASSERT_TRUE(run.ok()) << run;

  const std::string status = ReadFile(Proc("status"), 8192).value_or("");
  EXPECT_NE(status.find("Uid:\t65535\t65535"), std::string::npos) << status;
  EXPECT_NE(status.find("CapPrm:\t0000000000000000"), std::string::npos) << status;
  EXPECT_NE(status.find("Seccomp:\t2"), std::string::npos) << status;
  EXPECT_TRUE(Await(container_->Signal("", SIGTERM, false)).ok());
  EXPECT_EQ(ExitOf(""), 0);
}

TEST_F(SandboxContainerLive, AFilterWithoutItsCallEndsIt) {
  Profile({"rt_sigtimedwait"});
  ASSERT_TRUE(Run().ok());

  EXPECT_EQ(ExitOf(""), 1);
}

TEST_F(SandboxContainerLive, HoldsAUserNamespace) {
  image_.namespaces.has_user = spec_.namespaces.has_user = true;
  image_.uid_mappings = spec_.uid_mappings = {{.container = 0, .host = 100000, .size = 65536}};
  image_.gid_mappings = spec_.gid_mappings = spec_.uid_mappings;
  ASSERT_EQ(::chown(root_.path().c_str(), 100000, 100000), 0);
  spec_.sysctls = {{"kernel.msgmax", "4321"}};
  absl::Status run = Run();
  ASSERT_TRUE(run.ok()) << run;

  auto other = Join("(sleep 1000 &); test $(cat /proc/sys/kernel/msgmax) = 4321 && grep -q 100000 /proc/self/uid_map");

  EXPECT_EQ(EndOf(other), 0);
  EXPECT_TRUE(Wait([this] { return Children().empty(); })) << Children();
  EXPECT_TRUE(Await(container_->Signal("", SIGTERM, false)).ok());
  EXPECT_EQ(ExitOf(""), 0);
}

}  // namespace
}  // namespace kata::agent
