// SPDX-License-Identifier: Apache-2.0
// Sandbox, containers and processes against a fake machine whose agent answers in this process.
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include "proto/base/fd.h"
#include "proto/base/status.h"
#include "proto/schema/agent.ttrpc.h"
#include "virtcontainers/agent_client/channel.h"
#include "virtcontainers/paths.h"
#include "virtcontainers/sandbox/vm_sandbox.h"
#include "virtcontainers/test/test_directory.h"

namespace kata::virtcontainers {
namespace {

namespace v1 = agent::v1;
using ttrpc::CallContext;

class FakeAgent final : public v1::AgentService {
 public:
  explicit FakeAgent(asio::any_io_executor executor)
      : exited(executor), forever(executor), oom(executor), clock_asked(executor), clock_corrected(executor) {
    Register(map);
  }

  Co<absl::StatusOr<v1::HelloResponse>> Hello(CallContext, v1::HelloRequest request) override {
    if (is_silent) co_await forever.Wait();
    token_size = request.token().size();
    v1::HelloResponse response;
    response.set_version(kAgentProtocolVersion);
    if (has_clock) response.add_features("clock");
    if (has_sandbox_containers) response.add_features("sandbox-container");
    if (has_pod) response.add_features("pod");
    response.set_kernel_release("6.1.0 \x1b[2J");
    co_return response;
  }
  Co<absl::StatusOr<v1::SyncClockResponse>> SyncClock(CallContext, v1::SyncClockRequest request) override {
    clock_ahead_ns += request.correction_ns();
    if (request.correction_ns() != 0) clock_corrected.Set();
    clock_asked.Set();
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    v1::SyncClockResponse response;
    response.set_clock_realtime_ns(now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec + clock_ahead_ns);
    co_return response;
  }
  Co<absl::StatusOr<wire::Empty>> SetNetwork(CallContext, v1::SetNetworkRequest) override { co_return wire::Empty(); }
  Co<absl::StatusOr<v1::ResizeMachineResponse>> Resize(CallContext, v1::ResizeMachineRequest) override {
    co_return v1::ResizeMachineResponse();
  }
  Co<absl::Status> Dial(CallContext,
                        std::shared_ptr<ttrpc::MessageStream<v1::TunnelMessage, v1::TunnelMessage>>) override {
    co_return absl::OkStatus();
  }
  Co<absl::Status> Resolve(CallContext,
                           std::shared_ptr<ttrpc::MessageStream<v1::ResolverMessage, v1::ResolverMessage>>) override {
    co_return absl::OkStatus();
  }
  Co<absl::StatusOr<wire::Empty>> Rekey(CallContext, v1::RekeyRequest) override { co_return wire::Empty(); }
  Co<absl::StatusOr<v1::PingResponse>> Ping(CallContext, v1::PingRequest) override { co_return v1::PingResponse(); }
  Co<absl::StatusOr<wire::Empty>> CreateSandbox(CallContext, v1::CreateSandboxRequest request) override {
    hello_age_ns = request.hello_age_ns();
    sandbox = std::move(request);
    co_return wire::Empty();
  }
  Co<absl::StatusOr<v1::CreateContainerResponse>> CreateContainer(CallContext,
                                                                  v1::CreateContainerRequest request) override {
    created = std::move(request);
    if (!create_status.ok()) co_return create_status;
    if (create_gate != nullptr) co_await create_gate->Wait();
    co_return v1::CreateContainerResponse();
  }
  Co<absl::StatusOr<wire::Empty>> StartContainer(CallContext, v1::ProcessId) override { co_return wire::Empty(); }
  Co<absl::StatusOr<v1::ExecResponse>> Exec(CallContext, v1::ExecRequest) override {
    if (exec_gate == nullptr) co_return absl::NotFoundError("exec: \"nope\": executable file not found in $PATH");
    co_await exec_gate->Wait();
    co_return v1::ExecResponse();
  }
  Co<absl::Status> Stdio(CallContext,
                         std::shared_ptr<ttrpc::MessageStream<v1::StdioMessage, v1::StdioMessage>>) override {
    co_return absl::OkStatus();
  }
  Co<absl::StatusOr<v1::WaitProcessResponse>> WaitProcess(CallContext, v1::ProcessId request) override {
    if (request.container_id() == unkillable)
      co_await forever.Wait();
    else
      co_await exited.Wait();
    v1::WaitProcessResponse response;
    response.set_exit_status(exit_status);
    response.set_oom_kills(oom_kills_at_exit);
    co_return response;
  }
  Co<absl::StatusOr<wire::Empty>> SignalProcess(CallContext, v1::SignalRequest request) override {
    if (!signal_status.ok()) co_return signal_status;
    if (request.container_id() != unkillable) exited.Set();
    co_return wire::Empty();
  }
  Co<absl::StatusOr<wire::Empty>> ResizeTerminal(CallContext, v1::ResizeRequest request) override {
    sizes.push_back(absl::StrCat(request.width(), "x", request.height()));
    co_return wire::Empty();
  }
  Co<absl::StatusOr<v1::ListProcessesResponse>> ListProcesses(CallContext, v1::ProcessId) override {
    co_return v1::ListProcessesResponse();
  }
  Co<absl::StatusOr<wire::Empty>> RemoveProcess(CallContext, v1::ProcessId) override { co_return wire::Empty(); }
  Co<absl::StatusOr<wire::Empty>> RemoveContainer(CallContext, v1::ProcessId request) override {
    if (request.container_id() == unkillable) co_await forever.Wait();
    ++removed_containers;
    co_return wire::Empty();
  }
  Co<absl::StatusOr<wire::Empty>> Shutdown(CallContext, wire::Empty) override { co_return wire::Empty(); }
  Co<absl::StatusOr<wire::Empty>> PauseContainer(CallContext, v1::ProcessId) override {
    if (!pause_status.ok()) co_return pause_status;
    co_return wire::Empty();
  }
  Co<absl::StatusOr<wire::Empty>> ResumeContainer(CallContext, v1::ProcessId) override { co_return wire::Empty(); }
  Co<absl::StatusOr<wire::Empty>> UpdateContainer(CallContext, v1::UpdateContainerRequest request) override {
    updated = request.resources_json();
    co_return wire::Empty();
  }
  Co<absl::StatusOr<v1::StatsContainerResponse>> StatsContainer(CallContext, v1::ProcessId) override {
    v1::StatsContainerResponse response;
    response.mutable_metrics()->mutable_pids()->set_current(3);
    for (int i = 0; i < interfaces; ++i) response.add_interfaces()->set_name("eth");
    co_return response;
  }
  Co<absl::StatusOr<v1::WaitOomResponse>> WaitOom(CallContext, v1::WaitOomRequest request) override {
    if (request.seen() > 0) co_await forever.Wait();
    co_await oom.Wait();
    v1::WaitOomResponse response;
    response.set_oom_kills(1);
    co_return response;
  }

  ttrpc::ServiceMap map;
  Latch exited;
  Latch forever;
  Latch oom;
  Latch clock_asked;
  Latch clock_corrected;
  bool has_clock = false;
  bool has_sandbox_containers = true;
  v1::CreateContainerRequest created;  // the last one
  bool has_pod = false;
  v1::CreateSandboxRequest sandbox;
  int64_t clock_ahead_ns = 0;
  int64_t hello_age_ns = 0;
  uint64_t oom_kills_at_exit = 0;
  absl::Status pause_status;
  std::shared_ptr<Latch> create_gate;  // containers are made once it is set
  std::shared_ptr<Latch> exec_gate;    // execs wait for it and start; without it none is found
  std::vector<std::string> sizes;
  absl::Status signal_status;
  std::string updated;
  int interfaces = 1;
  uint32_t exit_status = 7;
  bool is_silent = false;
  std::string unkillable;  // this container's init does not end, whatever is sent to it
  absl::Status create_status;
  size_t token_size = 0;
  int removed_containers = 0;
};

class FakeMachine final : public hypervisors::Hypervisor {
 public:
  FakeMachine(asio::any_io_executor executor, FakeAgent* agent)
      : executor_(executor), agent_(agent), stopped_(executor) {}

  Co<absl::Status> Start(hypervisors::VmSpec spec, int netns) override {
    spec_ = spec;
    if (netns < 0 || stopped_.is_set()) co_return absl::FailedPreconditionError("not startable");
    co_return absl::OkStatus();
  }
  Co<absl::StatusOr<std::unique_ptr<ttrpc::Transport>>> ConnectAgent(std::chrono::milliseconds) override {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) co_return absl::InternalError("no sockets");
    guest_ = ttrpc::Connection::Start(executor_, ttrpc::MakeFdTransport(executor_, UniqueFd(ends[1])), &agent_->map);
    co_return ttrpc::MakeFdTransport(executor_, UniqueFd(ends[0]));
  }
  Co<absl::Status> Attach(hypervisors::Device) override { co_return absl::OkStatus(); }
  Co<absl::Status> Detach(std::string) override { co_return absl::OkStatus(); }
  Co<absl::StatusOr<hypervisors::MachineSize>> Resize(hypervisors::MachineSize size) override { co_return size; }
  pid_t Pid() const override { return stopped_.is_set() ? 0 : 4242; }
  hypervisors::Accelerator accelerator() const override { return hypervisors::Accelerator::kTcg; }
  Co<absl::Status> Pause() override { co_return absl::OkStatus(); }
  Co<absl::Status> Resume() override { co_return absl::OkStatus(); }
  Co<absl::Status> Stop() override {
    Die();
    co_return absl::OkStatus();
  }
  Co<hypervisors::StopReason> WaitStopped() override {
    co_await stopped_.Wait();
    co_return hypervisors::StopReason::kCrashed;
  }
  std::string ConsoleTail(size_t) const override { return "Kernel panic\nno init"; }

  void Die() {
    stopped_.Set();
    if (guest_) guest_->Close(absl::UnavailableError("dead"));
  }
  const hypervisors::VmSpec& spec() const { return spec_; }

 private:
  asio::any_io_executor executor_;
  FakeAgent* agent_;
  Latch stopped_;
  std::shared_ptr<ttrpc::Connection> guest_;
  hypervisors::VmSpec spec_;
};

class SandboxTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    // Before the pool's threads exist, which inherit it: a mount namespace and a /run of this
    // test's own.
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    ASSERT_EQ(::mount("none", "/run", "tmpfs", 0, nullptr), 0);
    ASSERT_EQ(::mount("none", "/sys/fs/cgroup", "tmpfs", 0, nullptr), 0);  // the machine has no process to be put there
    ASSERT_EQ(::mount("none", "/var/cache", "tmpfs", 0, nullptr), 0);  // what is kept for the host's other sandboxes
    pool_ = std::make_unique<asio::thread_pool>(2);
    agent_ = std::make_unique<FakeAgent>(io_.get_executor());
    machine_ = std::make_shared<FakeMachine>(io_.get_executor(), agent_.get());
    const std::string daemon = KATA_IDLE_DAEMON;
    ASSERT_TRUE(MakeDirs(bundle() + "/rootfs", 0755).ok());
    ASSERT_TRUE(WriteFileAtomically(bundle() + "/config.json",
                                    R"({"process": {"args": ["sh"]}, "root": {"path": "rootfs"},
                                        "linux": {"namespaces": [{"type": "network"}, {"type": "pid"}, {"type": "ipc"}]}})",
                                    0644)
                    .ok());
    options_.id = "box";
    options_.config.virtio_fs_daemon = daemon;
    options_.config.dial_timeout = 1;
    options_.config.create_container_timeout = 1;
    sandbox_ = MakeVmSandbox(io_.get_executor(), *pool_, options_, machine_);
  }
  // The sandbox of a pod without a sandbox container, and a container that joins the pod's namespaces.
  void MakePod(std::set<std::string> host_namespaces = {}) {
    PodSettings pod;
    pod.sysctls["kernel.shm_rmid_forced"] = "1";
    pod.host_namespaces = std::move(host_namespaces);
    options_.pod = std::move(pod);
    sandbox_ = MakeVmSandbox(io_.get_executor(), *pool_, options_, machine_);
  }
  void JoinNamespaces() const {
    ASSERT_TRUE(WriteFileAtomically(bundle() + "/config.json",
                                    R"({"process": {"args": ["sh"]}, "root": {"path": "rootfs"}, "linux": {"namespaces":
                                        [{"type": "network"}, {"type": "pid"}, {"type": "ipc", "path": "/proc/4242/ns/ipc"}]}})",
                                    0644)
                    .ok());
  }
  void TearDown() override {
    if (pool_) pool_->join();
    ::umount2("/run", MNT_DETACH);
    ::umount2("/var/cache", MNT_DETACH);
  }
  // Whether virtiofsd has `path` of the share; on the host there is none.
  static bool IsShared(const std::string& path) {
    const std::string pid = ReadFile(RuntimeDirectory("box") + "/virtiofsd.pid", 64).value_or("0");
    return std::filesystem::exists("/proc/" + pid + "/root" + SharedDirectory("box") + path);
  }
  std::string bundle() const { return directory_.path() + "/bundle"; }
  ContainerOptions Options(const std::string& id) const {
    ContainerOptions options;
    options.id = id;
    options.bundle = bundle();
    options.kill_effect_timeout = std::chrono::milliseconds(50);
    return options;
  }
  void Run(Co<absl::Status> test) {
    Spawn(io_.get_executor(), "test", Guard(this, std::move(test)));
    io_.run();
    EXPECT_TRUE(is_done_);
  }
  static Co<absl::Status> Guard(SandboxTest* test, Co<absl::Status> body) {
    absl::Status status = co_await std::move(body);
    EXPECT_TRUE(status.ok()) << status;
    absl::Status stopped = co_await test->sandbox_->Stop();
    EXPECT_TRUE(stopped.ok()) << stopped;
    EXPECT_FALSE(std::filesystem::exists(RuntimeDirectory("box")));
    EXPECT_FALSE(std::filesystem::exists(SharedDirectory("box")));
    test->agent_->forever.Set();
    test->agent_->exited.Set();
    test->agent_->oom.Set();
    test->is_done_ = true;
    co_return absl::OkStatus();
  }

  TestDirectory directory_;
  SandboxOptions options_;
  asio::io_context io_;
  std::unique_ptr<FakeAgent> agent_;
  std::shared_ptr<FakeMachine> machine_;
  std::shared_ptr<Sandbox> sandbox_;
  std::unique_ptr<asio::thread_pool> pool_;
  bool is_done_ = false;

 public:
  Co<absl::Status> Life() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    EXPECT_EQ(agent_->token_size, 32u);
    EXPECT_EQ(machine_->spec().guest_words.at(kTokenWord).size(), 64u);
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    if (!made.ok()) co_return made.status();
    std::shared_ptr<Container> container = *made;
    // Its process may not have entered the namespace yet.
    for (int i = 0; i < 1000 && !IsShared("/ro/c1/rootfs"); ++i) ::usleep(10000);
    EXPECT_TRUE(IsShared("/ro/c1/rootfs"));
    EXPECT_TRUE(std::filesystem::is_empty(SharedDirectory("box")));
    auto again = co_await sandbox_->CreateContainer(Options("c1"));
    EXPECT_TRUE(absl::IsAlreadyExists(again.status()));
    auto bad = co_await sandbox_->CreateContainer(Options("../x"));
    EXPECT_TRUE(absl::IsInvalidArgument(bad.status()));
    CO_RETURN_IF_ERROR(co_await container->Start());
    EXPECT_EQ(container->init()->state(), ProcessState::kRunning);
    absl::Status twice = co_await container->Start();
    EXPECT_TRUE(absl::IsFailedPrecondition(twice));
    absl::Status early = co_await sandbox_->DeleteContainer("c1");
    EXPECT_TRUE(absl::IsFailedPrecondition(early));
    ExecOptions exec;
    exec.exec_id = "e";
    exec.process_json = "{}";
    auto added = container->AddExec(exec);
    EXPECT_TRUE(added.ok());
    EXPECT_TRUE(absl::IsAlreadyExists(container->AddExec(exec).status()));
    absl::Status unstarted = co_await container->Kill("e", 9, false);
    EXPECT_TRUE(absl::IsFailedPrecondition(unstarted));
    absl::Status not_found = co_await container->StartExec("e");
    EXPECT_TRUE(absl::IsNotFound(not_found));
    EXPECT_EQ((*added)->exit()->status, 255u);
    CO_RETURN_IF_ERROR(co_await container->DeleteExec("e"));
    auto never_started = container->AddExec(exec);
    EXPECT_TRUE(never_started.ok());
    CO_RETURN_IF_ERROR(co_await container->DeleteExec("e"));
    EXPECT_EQ((*never_started)->exit()->status, 0u);
    CO_RETURN_IF_ERROR(co_await container->Kill("", 15, false));
    ExitStatus exit = co_await container->init()->WaitExit();
    EXPECT_EQ(exit.status, 7u);
    absl::Status late = co_await container->Kill("", 15, false);
    EXPECT_EQ(late.message(), "process already finished");
    CO_RETURN_IF_ERROR(co_await sandbox_->DeleteContainer("c1"));
    EXPECT_EQ(sandbox_->ContainerCount(), 0u);
    EXPECT_EQ(agent_->removed_containers, 1);
    EXPECT_FALSE(IsShared("/rw/c1"));
    co_return absl::OkStatus();
  }
  Co<absl::Status> SandboxContainer() {
    CO_RETURN_IF_ERROR(WriteFileAtomically(bundle() + "/config.json",
                                           R"({"process": {"args": ["/pause"]}, "root": {"path": "/nowhere"},
                                               "mounts": [{"destination": "/dev/shm", "type": "bind",
                                                           "source": "/nowhere", "options": ["rbind"]}],
                                               "linux": {"namespaces": [{"type": "network"}, {"type": "pid"},
                                                                        {"type": "ipc"}]}})",
                                           0644));
    ContainerOptions options = Options("pod");
    options.is_sandbox = true;
    options.rootfs.push_back({"overlay", "overlay", "", {"lowerdir=/nowhere"}});
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    ContainerOptions again = options;
    auto made = co_await sandbox_->CreateContainer(std::move(options));
    if (!made.ok()) co_return made.status();
    EXPECT_TRUE(agent_->created.is_sandbox());
    EXPECT_EQ(agent_->created.spec_json().find("nowhere"), std::string::npos);
    EXPECT_EQ(agent_->created.memory_volumes_size(), 0);
    // The share is mounted by now.
    for (int i = 0; i < 1000 && !IsShared("/ro"); ++i) ::usleep(10000);
    EXPECT_FALSE(IsShared("/ro/pod"));
    CO_RETURN_IF_ERROR(co_await (*made)->Start());
    ExecOptions exec;
    exec.exec_id = "e";
    exec.process_json = "{}";
    absl::Status refused = (*made)->AddExec(std::move(exec)).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(refused));
    EXPECT_EQ(
        refused.message(),
        "adding process \"e\" to container \"pod\": it is the sandbox container, which has no programs; exec into "
        "another container of the pod");
    CO_RETURN_IF_ERROR(co_await (*made)->Kill("", 15, false));
    co_await (*made)->init()->WaitExit();
    CO_RETURN_IF_ERROR(co_await sandbox_->DeleteContainer("pod"));
    auto second = co_await sandbox_->CreateContainer(std::move(again));
    co_return second.status();
  }
  Co<absl::Status> SandboxContainerOfAnOldAgent() {
    agent_->has_sandbox_containers = false;
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    ContainerOptions options = Options("pod");
    options.is_sandbox = true;
    auto made = co_await sandbox_->CreateContainer(std::move(options));
    EXPECT_TRUE(absl::IsFailedPrecondition(made.status())) << made.status();
    EXPECT_EQ(sandbox_->ContainerCount(), 0u);
    co_return absl::OkStatus();
  }
  static Co<absl::Status> StartExec(std::shared_ptr<Container> container, std::shared_ptr<Latch> started) {
    absl::Status status = co_await container->StartExec("e");
    started->Set();
    co_return status;
  }
  Co<absl::Status> ResizeWhileAnExecStarts() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    if (!made.ok()) co_return made.status();
    std::shared_ptr<Container> container = *made;
    CO_RETURN_IF_ERROR(co_await container->Start());
    ExecOptions exec;
    exec.exec_id = "e";
    exec.process_json = R"({"args": ["sh"]})";
    exec.terminal = true;
    auto added = container->AddExec(exec);
    if (!added.ok()) co_return added.status();
    CO_RETURN_IF_ERROR(co_await container->ResizeTerminal("e", 80, 24));
    agent_->exec_gate = std::make_shared<Latch>(io_.get_executor());
    auto started = std::make_shared<Latch>(io_.get_executor());
    Spawn(io_.get_executor(), "starting an exec", StartExec(container, started));
    co_await Sleep(std::chrono::milliseconds(20));
    absl::Status again = co_await container->StartExec("e");
    EXPECT_TRUE(absl::IsFailedPrecondition(again)) << again;
    CO_RETURN_IF_ERROR(co_await container->ResizeTerminal("e", 100, 24));
    EXPECT_TRUE(agent_->sizes.empty());
    agent_->exec_gate->Set();
    co_await started->Wait();
    EXPECT_EQ(agent_->sizes, std::vector<std::string>(1, "100x24"));
    EXPECT_EQ((*added)->state(), ProcessState::kRunning);
    co_return absl::OkStatus();
  }
  // What the guest makes when nobody waits any more is removed there.
  Co<absl::Status> CreateThatComesTooLate() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    agent_->create_gate = std::make_shared<Latch>(io_.get_executor());
    auto late = co_await sandbox_->CreateContainer(Options("late"));
    EXPECT_TRUE(absl::IsDeadlineExceeded(late.status())) << late.status();
    EXPECT_FALSE(IsShared("/rw/late"));
    EXPECT_EQ(agent_->removed_containers, 0);
    agent_->create_gate->Set();
    for (int i = 0; i < 500; ++i) {
      if (agent_->removed_containers > 0) break;
      co_await Sleep(std::chrono::milliseconds(10));
    }
    EXPECT_EQ(agent_->removed_containers, 1);
    agent_->create_gate = nullptr;
    auto again = co_await sandbox_->CreateContainer(Options("late"));
    co_return again.status();
  }
  Co<absl::Status> PodOfItsOwn() {
    absl::StatusOr<agent::v1::StatsContainerResponse> early = co_await sandbox_->Stats();
    EXPECT_TRUE(absl::IsUnavailable(early.status())) << early.status();
    EXPECT_FALSE(sandbox_->Facts().contains("guest_kernel"));
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    EXPECT_EQ(agent_->sandbox.pod().sysctls().at("kernel.shm_rmid_forced"), "1");
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    CO_RETURN_IF_ERROR(made.status());
    auto stats = co_await sandbox_->Stats();
    CO_RETURN_IF_ERROR(stats.status());
    EXPECT_EQ(stats->metrics().pids().current(), 3u);
    const std::map<std::string, std::string> facts = sandbox_->Facts();
    EXPECT_EQ(facts.at("machine_pid"), "4242");
    EXPECT_EQ(facts.at("accelerator"), "tcg");
    EXPECT_EQ(facts.at("guest_kernel"), "6.1.0??[2J");
    EXPECT_TRUE(facts.contains("virtiofsd_pid"));
    machine_->Die();
    co_await sandbox_->WaitStopped();
    absl::StatusOr<agent::v1::StatsContainerResponse> late = co_await sandbox_->Stats();
    EXPECT_FALSE(late.ok());
    co_return absl::OkStatus();
  }
  Co<absl::Status> PodOfAnOldAgent() {
    absl::Status started = co_await sandbox_->Start();
    EXPECT_TRUE(absl::IsUnimplemented(started)) << started;
    co_await sandbox_->WaitStopped();
    co_return absl::OkStatus();
  }
  Co<absl::Status> PodOfTheHostsPids() {
    absl::Status started = co_await sandbox_->Start();
    EXPECT_TRUE(absl::IsInvalidArgument(started)) << started;
    EXPECT_NE(started.message().find("pid is NODE (hostPID"), std::string::npos) << started;
    co_return absl::OkStatus();
  }
  Co<absl::Status> FirstContainerNamesANamespace() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    EXPECT_FALSE(agent_->sandbox.has_pod());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    EXPECT_TRUE(absl::IsInvalidArgument(made.status())) << made.status();
    absl::StatusOr<agent::v1::StatsContainerResponse> stats = co_await sandbox_->Stats();
    EXPECT_TRUE(absl::IsUnimplemented(stats.status())) << stats.status();
    co_return absl::OkStatus();
  }
  Co<absl::Status> MachineDies() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    if (!made.ok()) co_return made.status();
    std::shared_ptr<Container> container = *made;
    CO_RETURN_IF_ERROR(co_await container->Start());
    machine_->Die();
    ExitStatus exit = co_await container->init()->WaitExit();
    EXPECT_EQ(exit.status, 137u);
    EXPECT_EQ(sandbox_->VmPid(), 0);
    co_return co_await sandbox_->DeleteContainer("c1");
  }
  Co<absl::Status> VirtiofsdDies() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    if (!made.ok()) co_return made.status();
    std::shared_ptr<Container> container = *made;
    CO_RETURN_IF_ERROR(co_await container->Start());
    auto pid = ReadFile(RuntimeDirectory("box") + "/virtiofsd.pid", 64);
    if (!pid.ok()) co_return pid.status();
    EXPECT_EQ(::kill(std::stoi(*pid), SIGKILL), 0);
    ExitStatus exit = co_await container->init()->WaitExit();
    EXPECT_EQ(exit.status, 137u);
    co_return absl::OkStatus();
  }
  Co<absl::Status> KillOfALostGuest() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    if (!made.ok()) co_return made.status();
    std::shared_ptr<Container> container = *made;
    CO_RETURN_IF_ERROR(co_await container->Start());
    agent_->signal_status = absl::DeadlineExceededError("no answer");
    absl::Status term = co_await container->Kill("", SIGTERM, false);
    EXPECT_TRUE(absl::IsDeadlineExceeded(term)) << term;
    EXPECT_EQ(container->init()->state(), ProcessState::kRunning);
    absl::Status killed = co_await container->Kill("", SIGKILL, true);
    EXPECT_TRUE(killed.ok()) << killed;
    ExitStatus exit = co_await container->init()->WaitExit();
    EXPECT_EQ(exit.status, 137u);
    co_return absl::OkStatus();
  }
  Co<absl::Status> UnkillableAmongOthers() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    agent_->unkillable = "stuck";
    auto made = co_await sandbox_->CreateContainer(Options("stuck"));
    if (!made.ok()) co_return made.status();
    auto other = co_await sandbox_->CreateContainer(Options("other"));
    if (!other.ok()) co_return other.status();
    std::shared_ptr<Container> stuck = *made;
    std::shared_ptr<Container> neighbour = *other;
    CO_RETURN_IF_ERROR(co_await stuck->Start());
    CO_RETURN_IF_ERROR(co_await neighbour->Start());
    ExecOptions exec;
    exec.exec_id = "e";
    exec.process_json = "{}";
    auto added = stuck->AddExec(exec);
    EXPECT_TRUE(added.ok());
    CO_RETURN_IF_ERROR(co_await stuck->Kill("", SIGKILL, true));
    ExitStatus exit = co_await stuck->init()->WaitExit();
    EXPECT_EQ(exit.status, 137u);
    EXPECT_EQ((*added)->exit()->status, 137u);
    EXPECT_EQ(neighbour->init()->state(), ProcessState::kRunning);
    EXPECT_NE(sandbox_->VmPid(), 0);
    // Deletable although the guest does not answer, and its name can be used again.
    CO_RETURN_IF_ERROR(co_await sandbox_->DeleteContainer("stuck"));
    EXPECT_EQ(sandbox_->ContainerCount(), 1u);
    EXPECT_EQ(neighbour->init()->state(), ProcessState::kRunning);
    agent_->unkillable.clear();
    auto again = co_await sandbox_->CreateContainer(Options("stuck"));
    EXPECT_TRUE(again.ok()) << again.status();
    co_return absl::OkStatus();
  }
  Co<absl::Status> UnkillableAlone() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    agent_->unkillable = "stuck";
    auto other = co_await sandbox_->CreateContainer(Options("other"));
    if (!other.ok()) co_return other.status();
    std::shared_ptr<Container> neighbour = *other;
    CO_RETURN_IF_ERROR(co_await neighbour->Start());
    CO_RETURN_IF_ERROR(co_await neighbour->Kill("", SIGKILL, true));
    co_await neighbour->init()->WaitExit();
    auto made = co_await sandbox_->CreateContainer(Options("stuck"));
    if (!made.ok()) co_return made.status();
    std::shared_ptr<Container> stuck = *made;
    CO_RETURN_IF_ERROR(co_await stuck->Start());
    // The other one is still known, but has ended: nobody else pays.
    CO_RETURN_IF_ERROR(co_await stuck->Kill("", SIGKILL, true));
    ExitStatus exit = co_await stuck->init()->WaitExit();
    EXPECT_EQ(exit.status, 137u);
    EXPECT_EQ(sandbox_->VmPid(), 0);
    co_return absl::OkStatus();
  }
  Co<absl::Status> Resources() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    if (!made.ok()) co_return made.status();
    std::shared_ptr<Container> container = *made;
    absl::Status early = co_await container->Pause();
    EXPECT_TRUE(absl::IsFailedPrecondition(early)) << early;
    CO_RETURN_IF_ERROR(co_await container->Start());
    agent_->pause_status = absl::InternalError("frozen stiff");
    absl::Status failed = co_await container->Pause();
    EXPECT_EQ(failed.message(), "pausing container \"c1\": frozen stiff");
    EXPECT_FALSE(container->is_paused());
    agent_->pause_status = absl::OkStatus();
    CO_RETURN_IF_ERROR(co_await container->Pause());
    EXPECT_TRUE(container->is_paused());
    absl::Status twice = co_await container->Pause();
    EXPECT_TRUE(absl::IsFailedPrecondition(twice)) << twice;
    ExecOptions exec;
    exec.exec_id = "e";
    exec.process_json = "{}";
    EXPECT_TRUE(absl::IsFailedPrecondition(container->AddExec(exec).status()));
    CO_RETURN_IF_ERROR(co_await container->Resume());
    EXPECT_FALSE(container->is_paused());
    absl::Status running = co_await container->Resume();
    EXPECT_TRUE(absl::IsFailedPrecondition(running)) << running;
    std::string resources = "{\"cpu\":{}}";
    absl::Status updated = co_await container->Update(resources);
    EXPECT_TRUE(updated.ok()) << updated;
    EXPECT_EQ(agent_->updated, resources);
    auto stats = co_await container->Stats();
    if (!stats.ok()) co_return stats.status();
    EXPECT_EQ(stats->metrics().pids().current(), 3u);
    agent_->interfaces = 1000;
    auto flood = co_await container->Stats();
    EXPECT_TRUE(absl::IsResourceExhausted(flood.status())) << flood.status();
    CO_RETURN_IF_ERROR(co_await container->Kill("", 9, false));
    co_await container->init()->WaitExit();
    auto late = co_await container->Stats();
    EXPECT_TRUE(absl::IsNotFound(late.status())) << late.status();
    absl::Status gone = co_await container->Update(resources);
    EXPECT_TRUE(absl::IsFailedPrecondition(gone)) << gone;
    co_return absl::OkStatus();
  }
  Co<absl::Status> OutOfMemory() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    if (!made.ok()) co_return made.status();
    std::shared_ptr<Container> container = *made;
    Latch told(co_await asio::this_coro::executor);
    int kills = 0;
    container->OnOom([&] {
      ++kills;
      told.Set();
      // Whoever counts the exit as one for want of memory must know of it before.
      EXPECT_EQ(container->init()->state() == ProcessState::kStopped, false);
    });
    CO_RETURN_IF_ERROR(co_await container->Start());
    agent_->oom.Set();
    co_await told.Wait();
    EXPECT_EQ(kills, 1);
    agent_->oom_kills_at_exit = 2;
    agent_->exited.Set();
    co_await container->init()->WaitExit();
    EXPECT_EQ(kills, 2);
    container->OnOom(nullptr);
    co_return absl::OkStatus();
  }
  Co<absl::Status> ClockIsWrong() {
    agent_->has_clock = true;
    agent_->clock_ahead_ns = -3'600'000'000'000;
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    EXPECT_GT(agent_->hello_age_ns, 0);
    co_await agent_->clock_corrected.Wait();
    EXPECT_LT(std::abs(agent_->clock_ahead_ns), 1'000'000'000);
    co_return absl::OkStatus();
  }
  Co<absl::Status> ClockCannotBeAsked() {
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    if (!made.ok()) co_return made.status();
    EXPECT_FALSE(agent_->clock_asked.is_set());
    co_return absl::OkStatus();
  }
  Co<absl::Status> CreateFails() {
    agent_->create_status = absl::NotFoundError("exec: \"nope\": executable file not found in $PATH");
    CO_RETURN_IF_ERROR(co_await sandbox_->Start());
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    EXPECT_EQ(made.status(), agent_->create_status);
    EXPECT_FALSE(IsShared("/rw/c1"));
    EXPECT_EQ(sandbox_->ContainerCount(), 0u);
    co_return absl::OkStatus();
  }
  Co<absl::Status> AgentIsSilent() {
    agent_->is_silent = true;
    absl::Status status = co_await sandbox_->Start();
    EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
    EXPECT_NE(status.message().find("Kernel panic | no init"), absl::string_view::npos) << status;
    auto made = co_await sandbox_->CreateContainer(Options("c1"));
    EXPECT_EQ(made.status(), status);
    co_return absl::OkStatus();
  }
};

TEST_F(SandboxTest, LifeOfAContainer) { Run(Life()); }
TEST_F(SandboxTest, ASandboxContainerHasNothingOfTheHost) { Run(SandboxContainer()); }
TEST_F(SandboxTest, AnAgentThatIsTooOldMakesNoSandboxContainer) { Run(SandboxContainerOfAnOldAgent()); }
TEST_F(SandboxTest, ProcessesEndWith137WhenTheMachineDies) { Run(MachineDies()); }
TEST_F(SandboxTest, PodHasNamespacesBeforeItsFirstContainer) {
  agent_->has_pod = true;
  MakePod();
  JoinNamespaces();
  Run(PodOfItsOwn());
}
TEST_F(SandboxTest, PodNeedsAnAgentThatKnowsOfIt) {
  MakePod();
  Run(PodOfAnOldAgent());
}
TEST_F(SandboxTest, PodMayNotHaveTheHostsNamespaces) {
  agent_->has_pod = true;
  MakePod({"pid"});
  Run(PodOfTheHostsPids());
}
TEST_F(SandboxTest, NamespacesOfThePodComeWithItsFirstContainer) {
  JoinNamespaces();
  Run(FirstContainerNamesANamespace());
}
TEST_F(SandboxTest, SizeOfATerminalIsRememberedWhileTheExecStarts) { Run(ResizeWhileAnExecStarts()); }
TEST_F(SandboxTest, ContainerThatTheGuestMakesTooLateIsRemovedThere) { Run(CreateThatComesTooLate()); }
TEST_F(SandboxTest, MachineEndsWithItsVirtiofsd) { Run(VirtiofsdDies()); }
TEST_F(SandboxTest, SigkillEndsTheMachineOfAGuestThatDoesNotAnswer) { Run(KillOfALostGuest()); }
TEST_F(SandboxTest, AContainerThatCannotBeKilledIsGivenUpAlone) { Run(UnkillableAmongOthers()); }
TEST_F(SandboxTest, AContainerThatCannotBeKilledEndsAMachineOfItsOwn) { Run(UnkillableAlone()); }
TEST_F(SandboxTest, FreezerLimitsAndStatisticsAskTheAgent) { Run(Resources()); }
TEST_F(SandboxTest, OomKillsAreToldOnceEachAndBeforeTheExit) { Run(OutOfMemory()); }
TEST_F(SandboxTest, ClockOfTheGuestIsSetRight) { Run(ClockIsWrong()); }
TEST_F(SandboxTest, AgentWithoutAClockCallIsNotAsked) { Run(ClockCannotBeAsked()); }
TEST_F(SandboxTest, FailedCreateIsUndone) { Run(CreateFails()); }
TEST_F(SandboxTest, SilentAgentEndsTheStartWithTheConsole) { Run(AgentIsSilent()); }

}  // namespace
}  // namespace kata::virtcontainers
