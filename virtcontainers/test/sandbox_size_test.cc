// SPDX-License-Identifier: Apache-2.0
// The machine's size as its pod changes, with a machine and an agent that only note what they are told.
#include "virtcontainers/sandbox/sandbox_size.h"

#include <sys/socket.h>

#include <vector>

#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "proto/schema/agent.pb.h"
#include "proto/ttrpc/transport.h"

namespace kata::virtcontainers {
namespace {

using hypervisors::MachineSize;

constexpr uint64_t kMiB = 1u << 20;
constexpr HostSize kHost{uint64_t{16384} * kMiB, 8};
constexpr std::chrono::seconds kPatience{20};

ContainerLimits Limits(uint64_t memory_mib, uint64_t millis = 0) {
  ContainerLimits limits;
  limits.memory = memory_mib * kMiB;
  limits.quota = millis * 100;
  return limits;
}

Config TestConfig() {
  Config config;
  config.default_memory = 512;
  config.default_vcpus = 1;
  config.overhead_memory = 128;
  config.default_maxmemory = 8192;
  config.default_maxvcpus = 4;
  return config;
}

TEST(SizeFor, IsTheSumOfTheLimitsAndTheOverhead) {
  const Config config = TestConfig();
  EXPECT_EQ(SizeFor(config, {}, kHost, {}), (MachineSize{1, 512}));
  EXPECT_EQ(SizeFor(config, {}, kHost, {{"a", Limits(64)}}), (MachineSize{1, 512}));
  const MachineSize two = SizeFor(config, {}, kHost, {{"a", Limits(640, 700)}, {"b", Limits(640, 700)}, {"c", {}}});
  EXPECT_EQ(two, (MachineSize{2, 1280 + 1280 / 64 + 128}));
}

TEST(SizeFor, WhatTheKubeletSaidOfThePodIsTheLeast) {
  PodSize pod;
  pod.memory = 2048 * kMiB;
  EXPECT_EQ(SizeFor(TestConfig(), pod, kHost, {{"a", Limits(640)}}).memory_mib, 2048 + 2048 / 64 + 128U);
  EXPECT_EQ(SizeFor(TestConfig(), pod, kHost, {{"a", Limits(4096)}}).memory_mib, 4096 + 4096 / 64 + 128U);
}

TEST(SizeFor, AContainerWithoutALimitMayUseTheConfigurationsMemory) {
  Config config = TestConfig();
  config.default_memory = 194;  // made to fit the pod below
  config.memory_without_limit = 512;
  PodSize pod;
  pod.memory = 64 * kMiB;
  pod.is_sum = true;
  EXPECT_EQ(SizeFor(config, pod, kHost, {}).memory_mib, 194U);
  EXPECT_EQ(SizeFor(config, pod, kHost, {{"a", Limits(64)}}).memory_mib, 194U);
  EXPECT_EQ(SizeFor(config, pod, kHost, {{"a", Limits(64)}, {"b", {}}}).memory_mib, 512U);
  config.default_maxmemory = 256;
  EXPECT_EQ(SizeFor(config, pod, kHost, {{"a", Limits(64)}, {"b", {}}}).memory_mib, 256U);
}

TEST(SizeFor, HugePagesComeBesides) {
  ContainerLimits limits = Limits(640);
  limits.hugepages = 64 * kMiB;
  EXPECT_EQ(SizeFor(TestConfig(), {}, kHost, {{"a", limits}}).memory_mib, 640 + 10 + 128 + 64U);
  limits.memory = 0;
  Config config = TestConfig();
  config.memory_without_limit = 512;
  EXPECT_EQ(SizeFor(config, {}, kHost, {{"a", limits}, {"b", limits}}).memory_mib, 640U);
  limits.hugepages = uint64_t{1} << 50;
  EXPECT_EQ(SizeFor(config, {}, kHost, {{"a", limits}}).memory_mib, 8192U);
}

TEST(SizeFor, EndsAtTheConfigurationAndTheHost) {
  const std::map<std::string, ContainerLimits> all = {{"a", Limits(1 << 24, 100'000)}, {"b", Limits(1 << 24, 100'000)}};
  EXPECT_EQ(SizeFor(TestConfig(), {}, kHost, all), (MachineSize{4, 8192}));
  Config config = TestConfig();
  config.default_maxvcpus = 64;
  EXPECT_EQ(SizeFor(config, {}, kHost, all).vcpus, 8U);
  config.default_maxvcpus = config.default_maxmemory = 1;
  EXPECT_EQ(SizeFor(config, {}, kHost, all), (MachineSize{1, 512}));
}

class NotingMachine final : public hypervisors::Hypervisor {
 public:
  Co<absl::Status> Start(hypervisors::VmSpec, int) override { co_return absl::OkStatus(); }
  Co<absl::StatusOr<std::unique_ptr<ttrpc::Transport>>> ConnectAgent(std::chrono::milliseconds) override {
    co_return absl::UnimplementedError("no agent");
  }
  Co<absl::Status> Attach(hypervisors::Device) override { co_return absl::OkStatus(); }
  Co<absl::Status> Detach(std::string) override { co_return absl::OkStatus(); }
  Co<absl::StatusOr<MachineSize>> Resize(MachineSize size) override {
    sizes.push_back(size);
    if (!status.ok()) co_return status;
    co_return size;
  }
  Co<absl::Status> Save(std::string) override { co_return absl::OkStatus(); }
  bool IsClone() const override { return false; }
  pid_t Pid() const override { return 1; }
  hypervisors::Accelerator accelerator() const override { return hypervisors::Accelerator::kTcg; }
  Co<absl::Status> Pause() override { co_return absl::OkStatus(); }
  Co<absl::Status> Resume() override { co_return absl::OkStatus(); }
  Co<absl::Status> Stop() override { co_return absl::OkStatus(); }
  Co<hypervisors::StopReason> WaitStopped() override { co_return hypervisors::StopReason::kCrashed; }
  std::string ConsoleTail(size_t) const override { return ""; }

  std::vector<MachineSize> sizes;  // that were asked for
  absl::Status status;
};

class SandboxSizeTest : public ::testing::Test {
 protected:
  SandboxSizeTest() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    services_.AddUnary("kata.agent.v1.Agent", "Resize",
                       [this](ttrpc::CallContext, std::string payload) { return Answer(this, std::move(payload)); });
    const auto executor = io_.get_executor();
    guest_ = ttrpc::Connection::Start(executor, ttrpc::MakeFdTransport(executor, UniqueFd(ends[0])), &services_);
    host_ = ttrpc::Connection::Start(executor, ttrpc::MakeFdTransport(executor, UniqueFd(ends[1])), nullptr);
    size_ = std::make_shared<SandboxSize>(executor, machine_, TestConfig(), PodSize(), kHost);
    size_->Connect(host_, {"resize"}, [this](MachineSize now) { grown_.push_back(now); });
  }
  ~SandboxSizeTest() override {
    host_->Close(absl::CancelledError("test over"));
    guest_->Close(absl::CancelledError("test over"));
    Settle();
  }

  static Co<absl::StatusOr<std::string>> Answer(SandboxSizeTest* test, std::string payload) {
    agent::v1::ResizeMachineRequest request;
    request.ParseFromString(payload);
    test->told_.push_back({request.processors(), request.memory_added_bytes() / kMiB});
    if (!test->guest_status_.ok()) co_return test->guest_status_;
    co_return std::string();
  }

  // All that is under way.
  void Settle() {
    io_.restart();
    io_.run_for(std::chrono::milliseconds(20));
  }
  absl::Status Change(const std::string& id, ContainerLimits limits, absl::Status applied = absl::OkStatus()) {
    absl::Status result = absl::UnknownError("not ended");
    std::function<Co<absl::Status>()> apply = [this, applied] { return Apply(this, applied); };
    asio::co_spawn(io_, size_->Change(id, limits, std::move(apply)), [&](std::exception_ptr, absl::Status status) {
      result = std::move(status);
      io_.stop();
    });
    io_.restart();
    io_.run_for(kPatience);
    Settle();
    return result;
  }
  static Co<absl::Status> Apply(SandboxSizeTest* test, absl::Status applied) {
    test->applied_at_.push_back(test->size_->now());
    co_return applied;
  }

  asio::io_context io_{1};
  ttrpc::ServiceMap services_;
  std::shared_ptr<ttrpc::Connection> guest_;
  std::shared_ptr<ttrpc::Connection> host_;
  std::shared_ptr<NotingMachine> machine_ = std::make_shared<NotingMachine>();
  std::shared_ptr<SandboxSize> size_;
  absl::Status guest_status_;
  std::vector<MachineSize> told_;  // processors, and MiB that were added
  std::vector<MachineSize> grown_;
  std::vector<MachineSize> applied_at_;
};

TEST_F(SandboxSizeTest, WhatFitsAsksNobody) {
  EXPECT_TRUE(Change("a", Limits(64, 500)).ok());
  size_->Forget("a");
  Settle();
  EXPECT_TRUE(machine_->sizes.empty());
  EXPECT_TRUE(told_.empty());
}

TEST_F(SandboxSizeTest, GrowsBeforeALimitHoldsAndShrinksAfter) {
  const MachineSize large{2, 1024 + 16 + 128};
  EXPECT_TRUE(Change("a", Limits(1024, 1500)).ok());
  EXPECT_EQ(applied_at_, std::vector<MachineSize>{large});
  EXPECT_EQ(told_, (std::vector<MachineSize>{{2, large.memory_mib - 512}}));
  EXPECT_EQ(grown_, std::vector<MachineSize>{large});
  EXPECT_TRUE(Change("a", Limits(64, 500)).ok());
  EXPECT_EQ(applied_at_.back(), large);
  EXPECT_EQ(size_->now(), (MachineSize{1, 512}));
  EXPECT_EQ(told_.back(), (MachineSize{1, 0}));
}

TEST_F(SandboxSizeTest, AContainerThatGoesTakesItsShareWithIt) {
  EXPECT_TRUE(Change("a", Limits(1024)).ok());
  EXPECT_TRUE(Change("b", Limits(1024)).ok());
  size_->Forget("a");
  Settle();
  EXPECT_EQ(size_->now().memory_mib, 1024 + 16 + 128U);
  size_->Forget("b");
  Settle();
  EXPECT_EQ(size_->now().memory_mib, 512U);
}

TEST_F(SandboxSizeTest, AFailedCreateOrUpdateTakesBackWhatWasForIt) {
  EXPECT_TRUE(absl::IsAborted(Change("a", Limits(2048), absl::AbortedError("no"))));
  EXPECT_EQ(size_->now().memory_mib, 512U);
  EXPECT_EQ(size_->LimitsOf("a"), ContainerLimits());
  EXPECT_TRUE(Change("a", Limits(1024)).ok());
  EXPECT_TRUE(absl::IsAborted(Change("a", Limits(4096), absl::AbortedError("no"))));
  EXPECT_EQ(size_->now().memory_mib, 1024 + 16 + 128U);
  EXPECT_EQ(size_->LimitsOf("a"), Limits(1024));
}

TEST_F(SandboxSizeTest, ALimitThatTheMachineCannotHaveIsNotApplied) {
  machine_->status = absl::InternalError("no memory on the host");
  const absl::Status status = Change("a", Limits(2048));
  EXPECT_EQ(status.message(), "making the machine larger: no memory on the host");
  EXPECT_TRUE(applied_at_.empty());
  machine_->status = absl::OkStatus();
  guest_status_ = absl::DeadlineExceededError("waiting for memory");
  EXPECT_TRUE(absl::IsDeadlineExceeded(Change("a", Limits(2048))));
  EXPECT_TRUE(applied_at_.empty());
  guest_status_ = absl::OkStatus();
  EXPECT_TRUE(Change("a", Limits(2048)).ok());
  EXPECT_EQ(size_->now().memory_mib, 2048 + 32 + 128U);
}

TEST_F(SandboxSizeTest, AnAgentThatCannotIsNotAsked) {
  size_->Connect(host_, {}, nullptr);
  EXPECT_TRUE(Change("a", Limits(2048)).ok());
  EXPECT_EQ(applied_at_.size(), 1U);
  EXPECT_TRUE(machine_->sizes.empty());
  EXPECT_TRUE(told_.empty());
}

}  // namespace
}  // namespace kata::virtcontainers
