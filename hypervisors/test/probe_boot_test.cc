// SPDX-License-Identifier: Apache-2.0
// The verdicts, with scripts for an emulator; boot_test.cc boots a real one.
#include "hypervisors/accelerator/probe_boot.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/base/fd.h"

namespace kata::hypervisors {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ProbeBootTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/kata-probe-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    directory_ = pattern;
    ASSERT_EQ(chmod(pattern, 0777), 0);
    std::ofstream(directory_ + "/file") << "x";
  }
  void TearDown() override { fs::remove_all(directory_); }
  // A machine whose emulator adds a line to `runs` and then does what `script` says.
  VmSpec Machine(const std::string& script) {
    VmSpec machine;
    machine.machine_type = "q35";
    machine.kernel = machine.initrd = directory_ + "/file";
    machine.emulator = directory_ + "/qemu";
    std::ofstream(machine.emulator) << "#!/bin/sh\necho run >>" << directory_ << "/runs\n" << script << "\n";
    chmod(machine.emulator.c_str(), 0755);
    return machine;
  }
  int Runs() {
    auto text = ReadFile(directory_ + "/runs", 4096);
    return text.ok() ? static_cast<int>(text->size() / 4) : 0;
  }
  std::string directory_;
};

constexpr char kBoots[] = "echo 'Run /init as init process'; exec sleep 1000";
constexpr std::chrono::seconds kLong{60};

TEST_F(ProbeBootTest, GoodVerdictIsKept) {
  const VmSpec machine = Machine(kBoots);
  for (int i = 0; i < 3; ++i) {
    const absl::Status status = ProbeBootOnce(machine, "tcg", directory_ + "/cache", kLong);
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_EQ(Runs(), 1);
}

TEST_F(ProbeBootTest, BadVerdictIsKeptWithItsReason) {
  const VmSpec machine = Machine("echo no such accelerator >&2; exit 1");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(ProbeBootOnce(machine, "tcg", directory_ + "/cache", kLong).message(),
              "boot a guest under tcg: the machine ended; it wrote: no such accelerator");
  }
  EXPECT_EQ(Runs(), 1);
}

TEST_F(ProbeBootTest, OldBadVerdictAndAnotherKernelAreTriedAgain) {
  const VmSpec machine = Machine("exit 1");
  EXPECT_FALSE(ProbeBootOnce(machine, "tcg", directory_ + "/cache", kLong).ok());
  for (const auto& entry : fs::directory_iterator(directory_ + "/cache"))
    fs::last_write_time(entry, fs::file_time_type::clock::now() - 2 * kProbeAgainAfter);
  EXPECT_FALSE(ProbeBootOnce(machine, "tcg", directory_ + "/cache", kLong).ok());
  EXPECT_EQ(Runs(), 2);
  fs::remove(machine.kernel);
  std::ofstream(machine.kernel) << "another";
  EXPECT_FALSE(ProbeBootOnce(machine, "tcg", directory_ + "/cache", kLong).ok());
  EXPECT_EQ(Runs(), 3);
}

TEST_F(ProbeBootTest, SilentMachineIsGivenUp) {
  const absl::Status status = ProbeBoot(Machine("exec sleep 1000"), "tcg", std::chrono::milliseconds(200));
  EXPECT_EQ(status.message(), "boot a guest under tcg: the kernel did not start in time; it wrote: nothing");
}

TEST_F(ProbeBootTest, RunsAsTheMachinesUser) {
  if (getuid() != 0) GTEST_SKIP() << "needs root";
  VmSpec machine = Machine("id -u; id -G; exit 1");
  machine.uid = 54321;
  machine.gid = 54322;
  EXPECT_THAT(std::string(ProbeBoot(machine, "tcg", kLong).message()), HasSubstr("it wrote: 54321 54322"));
}

TEST_F(ProbeBootTest, MissingEmulatorIsAnError) {
  VmSpec machine = Machine(kBoots);
  machine.emulator += "-none";
  EXPECT_THAT(std::string(ProbeBootOnce(machine, "tcg", directory_ + "/cache", kLong).message()),
              HasSubstr("no such file"));
  EXPECT_FALSE(ProbeBoot(machine, "tcg", kLong).ok());
}

}  // namespace
}  // namespace kata::hypervisors
