// SPDX-License-Identifier: Apache-2.0
#include "agent/test/container_live.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/resource.h>

#include <csignal>

#include <absl/strings/str_join.h>

namespace kata::agent {
namespace {

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

  EXPECT_TRUE(Await(container_->Signal("", SIGKILL, false)).ok());

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

// The program's parent is out of its sight, it leads a session, and the cgroup it is in is the root
// of its namespace.
constexpr char kStandsAlone[] =
    "read pid name state parent group session rest < /proc/self/stat; "
    "test $parent = 0 -a $session = $pid && grep -qx 0::/ /proc/self/cgroup";

TEST_F(ContainerLive, InitAndExecRunWhereTheyBelong) {
  spec_.process.args = {"/bin/sh", "-c", std::string(kStandsAlone) + " && exec sleep 1000"};
  ASSERT_TRUE(Run().ok());

  EXPECT_EQ(ExitOfShell(kStandsAlone), 0);
  EXPECT_FALSE(container_->Find("")->exited.is_set());
}

TEST_F(ContainerLive, AnExecThatIsKilledAtOnceIsStillSeenToEnd) {
  ASSERT_TRUE(Run().ok());
  for (int i = 0; i < 20; ++i) {
    const std::string id = "e" + std::to_string(i);
    ASSERT_TRUE(Exec(id, ExecOf({"/usr/bin/true"})).ok());
    EXPECT_EQ(ExitOf(id), 0);
    EXPECT_TRUE(container_->RemoveExec(id).ok());
  }
}

TEST_F(ContainerLive, AFailedExecSaysWhyAndLeavesNothing) {
  ASSERT_TRUE(Run().ok());

  absl::Status missing = Exec("a", ExecOf({"/no/such"}));
  EXPECT_EQ(missing.message(), "exec: \"/no/such\": no such file or directory");
  root_.Write("broken", "no program");
  ::chmod((root_.path() + "/broken").c_str(), 0755);
  absl::Status broken = Exec("a", ExecOf({"/broken"}));
  EXPECT_EQ(broken.message(), "exec: \"/broken\": exec format error");

  EXPECT_EQ(container_->Find("a"), nullptr);
}

TEST_F(ContainerLive, RlimitsAreTheProgramsNotTheSetUps) {
  // Fewer descriptors than the set-up opens.
  spec_.process.rlimits = {{.resource = RLIMIT_NOFILE, .soft = 5, .hard = 5}};
  // Without a redirection of the shell's own, which wants descriptors from 10 on.
  const std::string script = "grep -q '^Max open files  *5  *5 ' /proc/self/limits";
  spec_.process.args = {"/bin/sh", "-c", script + " && exec sleep 1000"};
  absl::Status run = Run();
  ASSERT_TRUE(run.ok()) << run;

  EXPECT_EQ(ExitOfShell(script), 0);
  EXPECT_FALSE(container_->Find("")->exited.is_set());
}

TEST_F(ContainerLive, TheOomScoreNeedsNoProcOfTheContainer) {
  std::erase_if(spec_.mounts, [](const Mount& mount) { return mount.type == "proc"; });
  spec_.process.oom_score_adj = 123;
  absl::Status run = Run();
  ASSERT_TRUE(run.ok()) << run;

  auto score = ReadFile("/proc/" + std::to_string(container_->Find("")->pid) + "/oom_score_adj", 64);
  ASSERT_TRUE(score.ok());
  EXPECT_EQ(*score, "123\n");
}

TEST_F(ContainerLive, ExecsShareTheSessionKeyringOfTheirContainer) {
  ASSERT_TRUE(Run().ok());

  // keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING), and its line there.
  EXPECT_EQ(ExitOfShell("python3 -c 'import ctypes, sys\n"
                        "ring = ctypes.CDLL(None).syscall(250, 0, -3, 0)\n"
                        "lines = [line for line in open(\"/proc/keys\") if \"_ses.one\" in line]\n"
                        "sys.exit(not any(int(line.split()[0], 16) == ring for line in lines))'"),
            0);
}

TEST_F(ContainerLive, MasksAndSysctlsNeedATrueProc) {
  fs::create_directories(root_.path() + "/fake/sys/kernel");
  root_.Write("fake/kcore", "x");
  root_.Write("fake/sys/kernel/shmmni", "x");
  for (Mount& mount : spec_.mounts) {
    if (mount.destination == "/proc") mount = {"/proc", "bind", root_.path() + "/fake", {"bind"}};
  }
  spec_.masked_paths = {"/proc/kcore"};
  absl::Status masked = Create();
  EXPECT_TRUE(absl::IsInvalidArgument(masked)) << masked;
  EXPECT_NE(masked.message().find("not a proc file system"), std::string::npos) << masked;

  spec_.masked_paths.clear();
  spec_.sysctls["kernel.shmmni"] = "4096";
  Make();
  absl::Status set = Create();
  EXPECT_TRUE(absl::IsInvalidArgument(set)) << set;
  EXPECT_EQ(root_.Read("fake/sys/kernel/shmmni"), "x");
}

TEST_F(ContainerLive, ExecsAreUnderTheFilterThatInitCompiled) {
  Profile({"mkdir", "mkdirat"});
  ASSERT_TRUE(Run().ok());
  const std::string filtered = "! mkdir /x 2>/dev/null && grep -qx 'Seccomp:.2' /proc/self/status";

  EXPECT_EQ(ExitOfShell(filtered), 0);
  spec_.process.no_new_privileges = true;
  EXPECT_EQ(ExitOfShell(filtered), 0);
}

TEST_F(ContainerLive, AFilterMayRefuseWhatTheSetUpNeeds) {
  Profile({"clone", "clone3", "fork", "vfork", "setsid", "capset", "mount"});
  for (bool is_set : {false, true}) {
    // capset comes behind the filter without no_new_privs, as with runc.
    spec_.seccomp->rules[0].names[5] = is_set ? "capset" : "mount";
    spec_.process.no_new_privileges = is_set;
    Make();
    absl::Status run = Run();
    ASSERT_TRUE(run.ok()) << run;
    EXPECT_EQ(ExitOfShell(":"), 0);
    EXPECT_TRUE(Remove().ok());
  }
}

Co<void> CountTurns(int* turns, const bool* is_over) {
  while (!*is_over) {
    ++*turns;
    co_await Sleep(std::chrono::nanoseconds(0));
  }
}
Co<void> IntoPids(absl::StatusOr<std::vector<pid_t>>* out, std::string directory) {
  *out = co_await PidsBelow(std::move(directory));
}

TEST_F(ContainerLive, ManyNestedCgroupsAreReadAndRemovedWithoutStallingTheLoop) {
  constexpr int kNested = 4096;
  constexpr auto kLimit = std::chrono::seconds(120);
  const std::string top = parent_ + "/tree";
  ASSERT_EQ(::mkdir(top.c_str(), 0755), 0);
  UniqueFd fd(::open(top.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int i = 0; i < kNested; ++i) {
    ASSERT_EQ(::mkdirat(fd.get(), "n", 0755), 0) << i;
    fd.reset(::openat(fd.get(), "n", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(fd.valid());
  }
  fd.reset();
  // The turns that others get meanwhile.
  int turns = 0;
  bool is_over = false;
  asio::co_spawn(context_, CountTurns(&turns, &is_over), [](std::exception_ptr) {});

  absl::StatusOr<std::vector<pid_t>> pids = absl::UnknownError("not run");
  RunCo(context_, IntoPids(&pids, top), kLimit);
  EXPECT_TRUE(pids.ok()) << pids.status();
  EXPECT_GT(turns, 3);
  turns = 0;
  absl::Status removed = absl::UnknownError("not run");
  RunCo(context_, Into(&removed, RemoveCgroups(top)), kLimit);

  EXPECT_TRUE(removed.ok()) << removed;
  EXPECT_FALSE(fs::exists(top));
  EXPECT_GT(turns, 3);
  is_over = true;
  context_.run_for(std::chrono::milliseconds(20));
  context_.restart();
}

TEST_F(ContainerLive, OneOfTheSameNameCanBeMadeWhileAnotherDoesNotEnd) {
  ASSERT_TRUE(Run().ok());
  auto first = container_;
  Make();
  ASSERT_TRUE(Run().ok());

  EXPECT_NE(first->CgroupPath(), container_->CgroupPath());
  EXPECT_TRUE(Await(first->Remove()).ok());
  EXPECT_EQ(ExitOfShell(":"), 0);
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
  const std::string inner =
      "/cg/" + cgroups.filename().string() + "/" + fs::path(parent_).filename().string() + "/written";
  spec_.mounts.push_back({"/cg", "bind", cgroups.parent_path().string(), {"rbind", "rro"}});
  spec_.process.args = {"/bin/sh", "-c", "! mkdir " + inner + " 2>/dev/null"};
  ASSERT_TRUE(Run().ok());

  EXPECT_EQ(ExitOf(""), 0);
  ::rmdir((parent_ + "/written").c_str());
}

// As containerd prepares it: the rootfs belongs to the mapped root.
class UserNamespaceLive : public ContainerLive {
 protected:
  void SetUp() override {
    ContainerLive::SetUp();
    if (IsSkipped()) return;
    for (const auto& entry : fs::recursive_directory_iterator(root_.path()))
      ASSERT_EQ(::lchown(entry.path().c_str(), 100000, 100000), 0);
    ASSERT_EQ(::chown(root_.path().c_str(), 100000, 100000), 0);
    fs::create_directories(root_.path() + "/out");
    ASSERT_EQ(::chmod((root_.path() + "/out").c_str(), 0777), 0);
    spec_.namespaces.has_user = true;
    spec_.uid_mappings = {{.container = 0, .host = 100000, .size = 65536}};
    spec_.gid_mappings = {{.container = 0, .host = 100000, .size = 65536}};
    spec_.mounts.push_back({"/dev/pts", "devpts", "devpts", {"newinstance", "gid=5"}});
    spec_.mounts.push_back({"/dev/shm", "tmpfs", "shm", {"nosuid"}});
    spec_.mounts.push_back({"/dev/mqueue", "mqueue", "mqueue", {"nosuid"}});
    spec_.mounts.push_back({"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}});
    Capabilities& capabilities = spec_.process.capabilities.emplace();
    capabilities.bounding = capabilities.effective = capabilities.permitted = {"CAP_SYS_ADMIN", "CAP_CHOWN"};
  }
  std::string ScriptOutput(const std::string& script) {
    spec_.process.args = {"/usr/bin/sh", "-c", "{ " + script + "; } >/out/text 2>&1"};
    absl::Status run = Run();
    if (!run.ok()) return run.ToString();
    ExitOf("");
    auto text = ReadFile(root_.path() + "/out/text", 4096);
    return text.ok() ? *text : text.status().ToString();
  }
};

TEST_F(UserNamespaceLive, HasItsMappingItsRootAndItsDevices) {
  EXPECT_EQ(ScriptOutput("id -u; cat /proc/self/uid_map | tr -s ' '; stat -c %u:%g /etc; echo x >/dev/null && "
                         "stat -c %t:%T /dev/zero; test -d /sys/kernel && echo sys"),
            "0\n 0 100000 65536\n0:0\n1:5\nsys\n");
  struct stat info {};
  ASSERT_EQ(::stat((root_.path() + "/out/text").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 100000u);
}

TEST_F(UserNamespaceLive, RootMayMountInItsOwnTreeAndNotTouchWhatIsNotItsOwn) {
  EXPECT_EQ(ScriptOutput("mount -t tmpfs t /etc && echo mounted; mknod /out/d c 1 3 2>/dev/null || echo no device; "
                         "chown 1:1 /usr 2>/dev/null || echo not mine"),
            "mounted\nno device\nnot mine\n");
}

TEST_F(UserNamespaceLive, ExecsJoinIt) {
  ASSERT_TRUE(Run().ok());
  ProcessSpec exec = ExecOf({"/usr/bin/sh", "-c", "(id -u; cut -c1-20 /proc/self/uid_map | tr -s ' ') >/out/exec"});
  exec.uid = 1000;
  exec.gid = 1000;
  absl::Status executed = Exec("a", exec);
  ASSERT_TRUE(executed.ok()) << executed;
  EXPECT_EQ(ExitOf("a"), 0);
  auto text = ReadFile(root_.path() + "/out/exec", 4096);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->substr(0, 13), "1000\n 0 10000") << *text;
  struct stat info {};
  ASSERT_EQ(::stat((root_.path() + "/out/exec").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 101000u);
}

TEST_F(UserNamespaceLive, LimitsAndSysctlsThatItsRootMayNotSetAreSet) {
  // A lower score than the agent's own takes what not every machine gives its root.
  const bool may_lower = prctl(PR_CAPBSET_READ, CAP_SYS_RESOURCE) == 1;
  const std::string score = may_lower ? "-7" : "7";
  spec_.process.oom_score_adj = may_lower ? -7 : 7;
  spec_.process.rlimits = {{.resource = RLIMIT_NOFILE, .soft = 123, .hard = 456}};
  spec_.sysctls = {{"kernel.msgmax", "4321"}};
  EXPECT_EQ(ScriptOutput("cat /proc/self/oom_score_adj /proc/sys/kernel/msgmax; ulimit -n"), score + "\n4321\n123\n");
}

TEST_F(UserNamespaceLive, AnotherContainerJoinsItByItsPath) {
  ASSERT_TRUE(Run().ok());
  auto shared = container_->OpenNamespaces();
  ASSERT_TRUE(shared.ok()) << shared.status();
  ContainerSpec spec = spec_;
  spec.namespaces.user_path = spec.namespaces.ipc_path = "/proc/1/ns/x";
  spec.uid_mappings.clear();
  spec.process.args = {"/usr/bin/sh", "-c", "(id -u; readlink /proc/self/ns/user; echo $$) >/out/second"};
  Container::Collaborators collaborators{
      .exits = &exits_, .watcher = &watcher_, .parent_cgroup = parent_, .set_up_cgroup = parent_ + "/.setup"};
  auto second = std::make_shared<Container>(context_.get_executor(), std::move(collaborators), "two");
  absl::Status created = Await(second->Create(spec, StdioWanted(), &*shared));
  EXPECT_TRUE(created.ok()) << created;
  absl::Status started = Await(second->Start());
  EXPECT_TRUE(started.ok()) << started;
  if (started.ok()) {
    int status = -1;
    RunCo(context_, IntoStatus(&status, second->Find("")));
    EXPECT_EQ(status, 0);
  }
  EXPECT_TRUE(Await(second->Remove()).ok());
  auto text = ReadFile(root_.path() + "/out/second", 4096);
  ASSERT_TRUE(text.ok()) << text.status();
  const fs::path link = fs::read_symlink("/proc/" + std::to_string(container_->Find("")->pid) + "/ns/user");
  EXPECT_EQ(*text, "0\n" + link.string() + "\n1\n");
}

TEST_F(UserNamespaceLive, ExecsJoinItWhereOtherNamespacesAreTheGuests) {
  spec_.namespaces.has_pid = spec_.namespaces.has_ipc = spec_.namespaces.has_uts = false;
  // They may not be mounted by whom they do not belong to.
  std::erase_if(spec_.mounts, [](const Mount& mount) { return mount.type == "proc" || mount.type == "mqueue"; });
  ASSERT_TRUE(Run().ok());
  absl::Status executed = Exec("a", ExecOf({"/usr/bin/sh", "-c", "id -u >/out/exec"}));
  ASSERT_TRUE(executed.ok()) << executed;
  EXPECT_EQ(ExitOf("a"), 0);
  auto text = ReadFile(root_.path() + "/out/exec", 4096);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, "0\n");
}

TEST_F(UserNamespaceLive, ExecsFindTheKeyringOfInit) {
  // keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING).
  const std::string print = "python3 -c 'import ctypes; print(ctypes.CDLL(None).syscall(250, 0, -3, 0))'";
  spec_.process.args = {"/usr/bin/sh", "-c", print + " >/out/init; exec sleep 1000"};
  ASSERT_TRUE(Run().ok());
  const std::string wait = "until test -s /out/init; do sleep 0.05; done; ";
  absl::Status executed = Exec("a", ExecOf({"/usr/bin/sh", "-c", wait + print + " >/out/exec"}));
  ASSERT_TRUE(executed.ok()) << executed;
  EXPECT_EQ(ExitOf("a"), 0);
  auto of_init = ReadFile(root_.path() + "/out/init", 64);
  auto of_exec = ReadFile(root_.path() + "/out/exec", 64);
  ASSERT_TRUE(of_init.ok() && of_exec.ok());
  EXPECT_GT(std::stol(*of_init), 0);
  EXPECT_EQ(*of_init, *of_exec);
}

TEST_F(UserNamespaceLive, AReadOnlyRootKeepsWhatItsMountForbids) {
  spec_.root_is_readonly = true;
  spec_.mounts.push_back({"/out", "bind", root_.path() + "/out", {"bind", "rw"}});
  EXPECT_EQ(ScriptOutput("touch /new 2>/dev/null || echo read-only; touch /out/new && echo written"),
            "read-only\nwritten\n");
}

TEST_F(UserNamespaceLive, RefusesAUserWithoutAMapping) {
  spec_.process.uid = 70000;
  absl::Status status = Await(container_->Create(spec_, StdioWanted{.has_stdout = true}, nullptr));
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_NE(status.message().find("process.user.uid 70000"), std::string::npos) << status;
}

TEST_F(ContainerLive, HasClocksOfItsOwn) {
  spec_.namespaces.has_time = true;
  spec_.time_offsets["boottime"] = TimeOffset{.secs = 1000000};
  fs::create_directories(root_.path() + "/out");
  spec_.process.args = {"/usr/bin/sh", "-c", "cat /proc/uptime >/out/init; exec sleep 1000"};
  ASSERT_TRUE(Run().ok());
  absl::Status executed = Exec("a", ExecOf({"/usr/bin/sh", "-c", "cat /proc/uptime >/out/exec"}));
  ASSERT_TRUE(executed.ok()) << executed;
  EXPECT_EQ(ExitOf("a"), 0);
  auto text = ReadFile(root_.path() + "/out/exec", 4096);
  ASSERT_TRUE(text.ok()) << text.status();
  double own = 0;
  std::ifstream("/proc/uptime") >> own;
  EXPECT_GT(std::stod(*text), own + 999000);
}

TEST_F(ContainerLive, HasItsSchedulingAndItsPersonality) {
  fs::create_directories(root_.path() + "/out");
  spec_.personality = 8;
  spec_.process.scheduler = Scheduler{.policy = SCHED_BATCH, .nice = 5};
  spec_.process.io_priority = IoPriority{.io_class = 2, .priority = 6};
  spec_.process.args = {"/usr/bin/sh", "-c", "(uname -m; chrt -p $$ | head -1; nice; ionice) >/out/text"};
  absl::Status run = Run();
  ASSERT_TRUE(run.ok()) << run;
  EXPECT_EQ(ExitOf(""), 0);
  auto text = ReadFile(root_.path() + "/out/text", 4096);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_NE(text->find("i686\n"), std::string::npos) << *text;
  EXPECT_NE(text->find("SCHED_BATCH\n5\n"), std::string::npos) << *text;
  EXPECT_NE(text->find("best-effort: prio 6"), std::string::npos) << *text;
}

TEST_F(ContainerLive, AnExecHasItsSchedulingWhereThePolicyWouldKeepTheSetUpFromIt) {
  fs::create_directories(root_.path() + "/out");
  ASSERT_TRUE(Run().ok());
  ProcessSpec exec = ExecOf({"/usr/bin/sh", "-c", "(chrt -p $$; ionice -p $$) >/out/text"});
  // "Reset on fork": the process that is set up first is forked once more.
  exec.scheduler = Scheduler{.policy = SCHED_BATCH, .flags = 1, .nice = 3};
  exec.io_priority = IoPriority{.io_class = 3};
  absl::Status executed = Exec("a", exec);
  ASSERT_TRUE(executed.ok()) << executed;
  EXPECT_EQ(ExitOf("a"), 0);
  auto text = ReadFile(root_.path() + "/out/text", 4096);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_NE(text->find("SCHED_BATCH"), std::string::npos) << *text;
  EXPECT_NE(text->find("idle"), std::string::npos) << *text;
}

TEST_F(ContainerLive, SetsAnExecsProcessorsByTheHostsNumbers) {
  fs::create_directories(root_.path() + "/out");
  ASSERT_TRUE(Run().ok());
  ProcessSpec exec = ExecOf({"/usr/bin/sh", "-c", "nproc >/out/text"});
  exec.affinity_final = "4711";
  absl::Status executed = Exec("a", exec);
  ASSERT_TRUE(executed.ok()) << executed;
  EXPECT_EQ(ExitOf("a"), 0);
  auto text = ReadFile(root_.path() + "/out/text", 4096);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, "1\n");
}

TEST_F(ContainerLive, OfARepeatedVariableTheLastOneCounts) {
  fs::create_directories(root_.path() + "/out");
  spec_.process.env = {"PATH=/usr/bin", "A=1", "HOME=", "A=2"};
  spec_.process.args = {"/usr/bin/sh", "-c", "tr '\\000' '\\n' </proc/1/environ >/out/text"};
  ASSERT_TRUE(Run().ok());
  EXPECT_EQ(ExitOf(""), 0);
  auto text = ReadFile(root_.path() + "/out/text", 4096);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, "PATH=/usr/bin\nA=2\nHOME=/\n");
}

}  // namespace
}  // namespace kata::agent
