// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/devices/sandbox_devices.h"

#include <sys/mman.h>

#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

namespace kata::virtcontainers {
namespace {

// A machine whose guest may hold on to a device, which a real one cannot be made to do at will.
class StubbornMachine final : public hypervisors::Hypervisor {
 public:
  Co<absl::Status> Start(hypervisors::VmSpec, int) override { co_return absl::OkStatus(); }
  Co<absl::StatusOr<std::unique_ptr<ttrpc::Transport>>> ConnectAgent(std::chrono::milliseconds) override {
    co_return absl::UnimplementedError("no agent");
  }
  Co<absl::Status> Attach(hypervisors::Device device) override {
    if (devices.size() >= 2) co_return absl::ResourceExhaustedError("all ports are taken");
    if (!devices.insert(device.id).second) co_return absl::AlreadyExistsError("taken");
    co_return absl::OkStatus();
  }
  Co<absl::Status> Detach(std::string id) override {
    if (id == held) co_return absl::DeadlineExceededError("the guest does not let go of it");
    if (devices.erase(id) == 0) co_return absl::NotFoundError("unknown");
    co_return absl::OkStatus();
  }
  Co<absl::StatusOr<hypervisors::MachineSize>> Resize(hypervisors::MachineSize size) override { co_return size; }
  Co<absl::Status> Save(std::string) override { co_return absl::OkStatus(); }
  bool IsClone() const override { return false; }
  pid_t Pid() const override { return 1; }
  hypervisors::Accelerator accelerator() const override { return hypervisors::Accelerator::kTcg; }
  Co<absl::Status> Pause() override { co_return absl::OkStatus(); }
  Co<absl::Status> Resume() override { co_return absl::OkStatus(); }
  Co<absl::Status> Stop() override { co_return absl::OkStatus(); }
  Co<hypervisors::StopReason> WaitStopped() override { co_return hypervisors::StopReason::kDestroyed; }
  std::string ConsoleTail(size_t) const override { return ""; }

  std::set<std::string> devices;
  std::string held;
};

class SandboxDevicesTest : public testing::Test {
 protected:
  template <typename T>
  T Run(Co<T> task) {
    std::optional<T> result;
    asio::co_spawn(io_, std::move(task), [&result](std::exception_ptr, T value) { result = std::move(value); });
    io_.restart();
    io_.run();
    return std::move(*result);
  }
  // Each a file of its own.
  static DiskFile NewFile() {
    DiskFile disk;
    disk.file = std::make_shared<const UniqueFd>(::memfd_create("disk", MFD_CLOEXEC));
    return disk;
  }
  std::string Attach(const std::string& container, const DiskFile& disk = NewFile()) {
    auto serial = Run(devices_->AttachDisk(container, disk));
    return serial.ok() ? *serial : std::string(serial.status().message());
  }

  asio::io_context io_;
  std::shared_ptr<StubbornMachine> machine_ = std::make_shared<StubbornMachine>();
  std::shared_ptr<SandboxDevices> devices_ = std::make_shared<SandboxDevices>(io_.get_executor(), machine_);
};

TEST_F(SandboxDevicesTest, TakesOutWhatIsTheContainersAlone) {
  const std::string first = Attach("a");
  const std::string second = Attach("b");
  EXPECT_NE(first, second);

  EXPECT_TRUE(Run(devices_->DetachAllOf("a")).ok());

  EXPECT_EQ(machine_->devices, std::set<std::string>{second});
  EXPECT_EQ(devices_->count(), 1u);
}

TEST_F(SandboxDevicesTest, AFailedAttachLeavesNothing) {
  Attach("a");
  Attach("a");
  EXPECT_EQ(Attach("a"), "all ports are taken");
  EXPECT_EQ(devices_->count(), 2u);
}

TEST_F(SandboxDevicesTest, NoSerialIsUsedTwice) {
  const std::string first = Attach("a");
  EXPECT_TRUE(Run(devices_->DetachAllOf("a")).ok());
  EXPECT_NE(Attach("a"), first);
}

TEST_F(SandboxDevicesTest, WhatTheGuestHoldsIsTriedAgain) {
  machine_->held = Attach("a");
  Attach("a");
  EXPECT_TRUE(absl::IsDeadlineExceeded(Run(devices_->DetachAllOf("a"))));
  EXPECT_EQ(devices_->count(), 1u);

  machine_->held.clear();

  EXPECT_TRUE(Run(devices_->DetachAllOf("a")).ok());
  EXPECT_EQ(devices_->count(), 0u);
}

TEST_F(SandboxDevicesTest, ContainersOfOnePodShareADisk) {
  const DiskFile disk = NewFile();
  const std::string serial = Attach("a", disk);
  DiskFile again = disk;
  again.is_claimed = false;  // as the sandbox itself has it
  again.is_read_only = true;
  EXPECT_EQ(Attach("b", again), serial);

  EXPECT_TRUE(Run(devices_->DetachAllOf("a")).ok());
  EXPECT_EQ(machine_->devices.size(), 1u);

  EXPECT_TRUE(Run(devices_->DetachAllOf("b")).ok());
  EXPECT_TRUE(machine_->devices.empty());
}

TEST_F(SandboxDevicesTest, AReadOnlyDiskIsNotWrittenToByAnother) {
  DiskFile disk = NewFile();
  disk.is_read_only = true;
  Attach("a", disk);
  disk.is_read_only = false;
  EXPECT_EQ(Attach("b", disk), "another container of the pod has it, read-only");
}

TEST_F(SandboxDevicesTest, ADiskOfSomebodyElseIsRefused) {
  DiskFile disk = NewFile();
  disk.is_claimed = false;
  EXPECT_EQ(Attach("a", disk), "it is in use on the host: mounted there, or given to another pod");
  EXPECT_EQ(devices_->count(), 0u);
}

TEST_F(SandboxDevicesTest, AnEndedMachineHasNothingToTakeOut) {
  machine_->held = Attach("a");
  devices_->ForgetAllOf("a");
  EXPECT_EQ(devices_->count(), 0u);
}

}  // namespace
}  // namespace kata::virtcontainers
