// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup/reserve.h"

#include <gtest/gtest.h>

#include "agent/test/control_files.h"

namespace kata::agent {
namespace {

constexpr uint64_t kMiB = 1u << 20;

GuestCapacity Machine(uint64_t mib, uint64_t processes) {
  return GuestCapacity{.memory_total = mib * kMiB, .memory_available = (mib - 40) * kMiB, .processes = processes};
}

TEST(Reserve, EachLevelLeavesSomethingToTheOneAbove) {
  for (uint64_t mib : {128, 256, 512, 2048, 65536}) {
    const GuestCapacity machine = Machine(mib, mib * 8);
    const Bounds all = BoundsOfAll(machine);
    const Bounds one = BoundsOfOne(all);

    EXPECT_GE(machine.memory_available - all.memory, 16 * kMiB) << mib;
    EXPECT_GE(machine.processes - all.processes, 64u) << mib;
    EXPECT_GE(all.memory - one.memory, 4 * kMiB) << mib;
    EXPECT_GE(all.processes - one.processes, 64u) << mib;
  }
}

TEST(Reserve, TakesLittleOfALargeMachine) {
  const GuestCapacity machine = Machine(65536, 500000);
  const Bounds one = BoundsOfOne(BoundsOfAll(machine));

  EXPECT_LE(machine.memory_available - one.memory, 96 * kMiB);
  EXPECT_LE(machine.processes - one.processes, 1024u);
}

TEST(Reserve, LeavesTheHalfOfATinyMachine) {
  const GuestCapacity machine{.memory_total = 20 * kMiB, .memory_available = 10 * kMiB, .processes = 50};

  EXPECT_EQ(BoundsOfAll(machine).memory, 5 * kMiB);
  EXPECT_EQ(BoundsOfAll(machine).processes, 25u);
}

TEST(Reserve, NoBoundStaysNone) {
  EXPECT_EQ(BoundsOfOne(Bounds()).memory, 0u);
  EXPECT_EQ(BoundsOfOne(Bounds()).processes, 0u);
}

TEST(Reserve, ReadsWhatItWrote) {
  ControlFiles cgroup;
  cgroup.Write("memory.max", "max\n");
  EXPECT_EQ(ReadBounds(cgroup.path()).memory, 0u);
  EXPECT_EQ(ReadBounds(cgroup.path()).processes, 0u);
  cgroup.Write("memory.max", "");
  cgroup.Write("pids.max", "");

  ASSERT_TRUE(WriteBounds(cgroup.path(), Bounds{.memory = 4096, .processes = 17}).ok());

  EXPECT_EQ(ReadBounds(cgroup.path()).memory, 4096u);
  EXPECT_EQ(ReadBounds(cgroup.path()).processes, 17u);
}

TEST(Reserve, NoBoundIsNotWritten) {
  ControlFiles cgroup;
  EXPECT_TRUE(WriteBounds(cgroup.path(), Bounds()).ok());
}

TEST(Reserve, ThisMachineHasACapacity) {
  const GuestCapacity machine = ReadGuestCapacity();
  EXPECT_GT(machine.memory_total, machine.memory_available);
  EXPECT_GT(machine.memory_available, 0u);
  EXPECT_GT(machine.processes, 0u);
}

}  // namespace
}  // namespace kata::agent
