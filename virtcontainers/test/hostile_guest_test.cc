// SPDX-License-Identifier: Apache-2.0
// The real sandbox against a guest that lies, floods and stalls: what it makes this process keep stays below a bound,
// and each call ends.
#include <sched.h>
#include <sys/mount.h>

#include <fstream>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include "proto/base/status.h"
#include "proto/ttrpc/message_stream.h"
#include "virtcontainers/sandbox/vm_sandbox.h"
#include "virtcontainers/test/hostile_guest.h"
#include "virtcontainers/test/test_directory.h"

namespace kata::virtcontainers {
namespace {

using Lie = HostileGuest::Lie;

constexpr size_t kMemoryMax = 64u << 20;
constexpr std::chrono::seconds kPatience{60};

class HostileMachine final : public hypervisors::Hypervisor {
 public:
  explicit HostileMachine(asio::any_io_executor executor) : executor_(executor), stopped_(executor) {}

  Co<absl::Status> Start(hypervisors::VmSpec, int) override { co_return absl::OkStatus(); }
  Co<absl::StatusOr<std::unique_ptr<ttrpc::Transport>>> ConnectAgent(std::chrono::milliseconds) override {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) co_return absl::InternalError("no sockets");
    guest = std::make_unique<HostileGuest>(UniqueFd(ends[1]));
    co_return ttrpc::MakeFdTransport(executor_, UniqueFd(ends[0]));
  }
  Co<absl::Status> Attach(hypervisors::Device) override { co_return absl::OkStatus(); }
  Co<absl::Status> Detach(std::string) override { co_return absl::OkStatus(); }
  Co<absl::StatusOr<hypervisors::MachineSize>> Resize(hypervisors::MachineSize size) override { co_return size; }
  Co<absl::Status> Save(std::string) override { co_return absl::OkStatus(); }
  bool IsClone() const override { return false; }
  pid_t Pid() const override { return stopped_.is_set() ? 0 : 4242; }
  hypervisors::Accelerator accelerator() const override { return hypervisors::Accelerator::kTcg; }
  Co<absl::Status> Pause() override { co_return absl::OkStatus(); }
  Co<absl::Status> Resume() override { co_return absl::OkStatus(); }
  Co<absl::Status> Stop() override {
    stopped_.Set();
    co_return absl::OkStatus();
  }
  Co<hypervisors::StopReason> WaitStopped() override {
    co_await stopped_.Wait();
    co_return hypervisors::StopReason::kDestroyed;
  }
  std::string ConsoleTail(size_t) const override { return ""; }

  std::unique_ptr<HostileGuest> guest;

 private:
  asio::any_io_executor executor_;
  Latch stopped_;
};

size_t PeakBytes() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.rfind("VmHWM:", 0) == 0) return std::stoul(line.substr(6)) << 10;
  }
  return 0;
}

class HostileGuestTest : public testing::Test {
 public:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    ASSERT_EQ(::mount("none", "/run", "tmpfs", 0, nullptr), 0);
    ASSERT_EQ(::mount("none", "/sys/fs/cgroup", "tmpfs", 0, nullptr), 0);  // the machine has no process to be put there
    ASSERT_EQ(::mount("none", "/var/cache", "tmpfs", 0, nullptr), 0);  // what is kept for the host's other sandboxes
    pool_ = std::make_unique<asio::thread_pool>(2);
    machine_ = std::make_shared<HostileMachine>(io_.get_executor());
    const std::string daemon = KATA_IDLE_DAEMON;
    bundle_ = directory_.path() + "/bundle";
    ASSERT_TRUE(MakeDirs(bundle_ + "/rootfs", 0755).ok());
    const char* spec = R"({"process": {"args": ["sh"]}, "root": {"path": "rootfs"},
      "linux": {"namespaces": [{"type": "network"}, {"type": "pid"}, {"type": "ipc"}]}})";
    ASSERT_TRUE(WriteFileAtomically(bundle_ + "/config.json", spec, 0644).ok());
    SandboxOptions options;
    options.id = "box";
    options.config.virtio_fs_daemon = daemon;
    sandbox_ = MakeVmSandbox(io_.get_executor(), *pool_, std::move(options), machine_);
  }
  void TearDown() override {
    if (pool_) pool_->join();
    ::umount2("/run", MNT_DETACH);
    ::umount2("/var/cache", MNT_DETACH);
  }

  using Body = Co<absl::Status> (*)(HostileGuestTest*, std::shared_ptr<Container>);
  // `body` with a running container, and the bound.
  void Run(Body body) {
    Spawn(io_.get_executor(), "test", Guard(this, body));
    io_.run_for(kPatience);
    ASSERT_TRUE(is_done_) << "something does not end";
    // The kernel counts by the batch: the peak may seem to be below where it began.
    EXPECT_LT(PeakBytes(), bytes_before_ + kMemoryMax);
  }
  static Co<absl::Status> Guard(HostileGuestTest* test, Body body) {
    absl::Status status = co_await Begin(test, body);
    EXPECT_TRUE(status.ok()) << status;
    absl::Status stopped = co_await test->sandbox_->Stop();
    EXPECT_TRUE(stopped.ok()) << stopped;
    test->is_done_ = true;
    co_return absl::OkStatus();
  }
  static Co<absl::Status> Begin(HostileGuestTest* test, Body body) {
    CO_RETURN_IF_ERROR(co_await test->sandbox_->Start());
    ContainerOptions options;
    options.id = "c1";
    options.bundle = test->bundle_;
    auto made = co_await test->sandbox_->CreateContainer(std::move(options));
    if (!made.ok()) co_return made.status();
    std::shared_ptr<Container> container = *made;
    CO_RETURN_IF_ERROR(co_await container->Start());
    // From here on the peak counts.
    std::ofstream("/proc/self/clear_refs") << "5";
    test->bytes_before_ = PeakBytes();
    co_return co_await body(test, container);
  }
  static Co<absl::Status> ExpectAlive(HostileGuestTest* test, std::shared_ptr<Container> container) {
    test->Tell(Lie::kNone);
    auto stats = co_await container->Stats();
    if (!stats.ok()) co_return stats.status();
    EXPECT_EQ(stats->metrics().pids().current(), 3u);
    EXPECT_EQ(stats->interfaces(0).name(), "eth0");
    co_return absl::OkStatus();
  }
  void Tell(Lie lie) { machine_->guest->lie = lie; }

  template <Lie kLie>
  static Co<absl::Status> AnswerIsRefused(HostileGuestTest* test, std::shared_ptr<Container> container) {
    test->Tell(kLie);
    for (int i = 0; i < 20; ++i) {
      auto stats = co_await container->Stats();
      EXPECT_TRUE(absl::IsResourceExhausted(stats.status())) << stats.status();
    }
    co_return co_await ExpectAlive(test, container);
  }
  template <Lie kLie>
  static Co<absl::Status> FloodIsDropped(HostileGuestTest* test, std::shared_ptr<Container> container) {
    test->Tell(kLie);
    auto stats = co_await container->Stats();
    if (!stats.ok()) co_return stats.status();
    co_return co_await ExpectAlive(test, container);
  }

  TestDirectory directory_;
  std::string bundle_;
  asio::io_context io_;
  std::shared_ptr<HostileMachine> machine_;
  std::shared_ptr<Sandbox> sandbox_;
  std::unique_ptr<asio::thread_pool> pool_;
  size_t bytes_before_ = 0;
  bool is_done_ = false;
};

TEST_F(HostileGuestTest, MillionsOfElementsAreNotDecoded) { Run(AnswerIsRefused<Lie::kMillionsOfElements>); }
TEST_F(HostileGuestTest, ElementsThatFitAFrameAreCounted) { Run(AnswerIsRefused<Lie::kElementsThatFit>); }
TEST_F(HostileGuestTest, MillionsOfDetailsOfAnErrorAreNotDecoded) { Run(AnswerIsRefused<Lie::kMillionsOfDetails>); }
TEST_F(HostileGuestTest, LongNamesAreRefused) { Run(AnswerIsRefused<Lie::kLongNames>); }
TEST_F(HostileGuestTest, HugeFramesAreSkipped) { Run(FloodIsDropped<Lie::kHugeFrames>); }
TEST_F(HostileGuestTest, FramesOfNoCallAreDropped) { Run(FloodIsDropped<Lie::kSmallFrames>); }

Co<absl::Status> SequencesAreReplaced(HostileGuestTest* test, std::shared_ptr<Container> container) {
  test->Tell(Lie::kTerminalSequences);
  auto stats = co_await container->Stats();
  if (!stats.ok()) co_return stats.status();
  EXPECT_EQ(stats->interfaces(0).name(), "e?[2J");
  co_return absl::OkStatus();
}

TEST_F(HostileGuestTest, TerminalSequencesGoNoFurther) { Run(SequencesAreReplaced); }

// It ends the machine: such a guest is not ours.
Co<absl::Status> Requests(HostileGuestTest* test, std::shared_ptr<Container> container) {
  test->Tell(Lie::kRequests);
  auto stats = co_await container->Stats();
  EXPECT_FALSE(stats.ok());
  ExitStatus exit = co_await container->init()->WaitExit();
  EXPECT_EQ(exit.status, 137u);
  EXPECT_EQ(test->sandbox_->VmPid(), 0);
  co_return absl::OkStatus();
}

// Even where nobody takes it.
Co<absl::Status> Data(HostileGuestTest* test, std::shared_ptr<Container> container) {
  auto stream = co_await container->init()->OpenStdio();
  if (!stream.ok()) co_return stream.status();
  test->Tell(Lie::kData);
  auto stats = co_await container->Stats();
  if (!stats.ok()) co_return stats.status();
  auto message = co_await (*stream)->Receive();
  EXPECT_TRUE(absl::IsResourceExhausted(message.status())) << message.status();
  co_return co_await HostileGuestTest::ExpectAlive(test, container);
}

struct Calls {
  explicit Calls(const asio::any_io_executor& executor) : all_ended(executor) {}
  int running = 0;
  Latch all_ended;
};
Co<absl::Status> Count(std::shared_ptr<Calls> calls, Co<absl::Status> call) {
  absl::Status status = co_await std::move(call);
  EXPECT_FALSE(status.ok());
  if (--calls->running == 0) calls->all_ended.Set();
  co_return absl::OkStatus();
}

Co<absl::Status> AskStats(std::shared_ptr<Container> container) {
  auto stats = co_await container->Stats();
  co_return stats.status();
}

Co<absl::Status> OpenStdio(std::shared_ptr<Container> container) {
  auto stream = co_await container->init()->OpenStdio();
  // Opening waits for nothing but room to send; what the guest then says is another matter.
  if (!stream.ok()) co_return stream.status();
  auto message = co_await (*stream)->Receive();
  co_return message.status();
}

// Takes nothing any more. The host sends until its own queue is full, keeps a bounded part, and each call ends.
Co<absl::Status> Stalls(HostileGuestTest* test, std::shared_ptr<Container> container) {
  auto executor = co_await asio::this_coro::executor;
  auto calls = std::make_shared<Calls>(executor);
  test->Tell(Lie::kStall);
  const auto run = [&](Co<absl::Status> call) {
    ++calls->running;
    Spawn(executor, "call", Count(calls, std::move(call)));
  };
  for (int i = 0; i < 20; ++i) run(container->Update(std::string(1u << 20, 'u')));
  run(AskStats(container));
  run(container->Pause());
  run(container->ResizeTerminal("", 1, 1));
  run(OpenStdio(container));
  co_await calls->all_ended.WaitFor(std::chrono::seconds(1));
  EXPECT_GT(calls->running, 0);
  EXPECT_EQ(container->init()->state(), ProcessState::kRunning);
  absl::Status stopped = co_await test->sandbox_->Stop();
  EXPECT_TRUE(stopped.ok()) << stopped;
  co_await calls->all_ended.Wait();
  co_return absl::OkStatus();
}

TEST_F(HostileGuestTest, RequestsEndTheMachine) { Run(Requests); }
TEST_F(HostileGuestTest, DataWithoutEndBreaksItsStream) { Run(Data); }
TEST_F(HostileGuestTest, GuestThatTakesNothingHoldsUpNoStop) { Run(Stalls); }

}  // namespace
}  // namespace kata::virtcontainers
