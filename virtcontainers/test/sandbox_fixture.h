// SPDX-License-Identifier: Apache-2.0
// A sandbox on a fake machine whose agent answers in this process, with a mount namespace and a /run of its own.
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

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
    if (has_held_pods) response.add_features("held-pod");
    if (has_mirrors) response.add_features("mirrors");
    if (has_host_sockets) response.add_features("host-sockets");
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
  Co<absl::StatusOr<wire::Empty>> SetMirror(CallContext, v1::SetMirrorRequest request) override {
    mirrored.push_back(std::move(request));
    co_return wire::Empty();
  }
  Co<absl::StatusOr<v1::ResizeMachineResponse>> Resize(CallContext, v1::ResizeMachineRequest) override {
    co_return v1::ResizeMachineResponse();
  }
  Co<absl::Status> Dial(CallContext,
                        std::shared_ptr<ttrpc::MessageStream<v1::TunnelMessage, v1::TunnelMessage>>) override {
    co_return absl::OkStatus();
  }
  Co<absl::Status> AcceptSocket(CallContext,
                                std::shared_ptr<ttrpc::MessageStream<v1::TunnelMessage, v1::TunnelMessage>>) override {
    co_await forever.Wait();
    co_return absl::OkStatus();
  }
  Co<absl::Status> Resolve(CallContext,
                           std::shared_ptr<ttrpc::MessageStream<v1::ResolverMessage, v1::ResolverMessage>>) override {
    co_return absl::OkStatus();
  }
  Co<absl::StatusOr<wire::Empty>> Rekey(CallContext, v1::RekeyRequest request) override {
    is_rekeyed_first = sandbox.sandbox_id().empty();
    rekeyed.push_back(std::move(request));
    co_return wire::Empty();
  }
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
  bool has_held_pods = false;
  bool has_host_sockets = false;
  bool has_mirrors = false;
  std::vector<v1::SetMirrorRequest> mirrored;
  v1::CreateSandboxRequest sandbox;
  std::vector<v1::RekeyRequest> rekeyed;
  bool is_rekeyed_first = false;  // before the sandbox
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
  Co<absl::Status> Save(std::string) override { co_return absl::OkStatus(); }
  bool IsClone() const override { return is_clone; }
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
  bool is_clone = false;

 private:
  asio::any_io_executor executor_;
  FakeAgent* agent_;
  Latch stopped_;
  std::shared_ptr<ttrpc::Connection> guest_;
  hypervisors::VmSpec spec_;
};

class SandboxFixture : public testing::Test {
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
  // The bundle's document with this bind mount, twice. `more`: further members.
  void WriteMount(const std::string& source, const std::string& options, const std::string& more) const {
    const std::string mount = R"({"type": "bind", "destination": "/s", "options": [)" + options + R"(], "source": ")" +
                              source + "\"" + more + "}";
    ASSERT_TRUE(WriteFileAtomically(
                    bundle() + "/config.json",
                    R"({"process": {"args": ["sh"]}, "root": {"path": "rootfs"}, "mounts": [)" + mount + "," + mount +
                        R"(], "linux": {"namespaces": [{"type": "network"}, {"type": "pid"}, {"type": "ipc"}]}})",
                    0644)
                    .ok());
  }
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
  static Co<absl::Status> Guard(SandboxFixture* test, Co<absl::Status> body) {
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
};

}  // namespace kata::virtcontainers
