// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/device_slots.h"

#include <gtest/gtest.h>

namespace kata::hypervisors {
namespace {

Device Disk(const std::string& id) { return Device{id, BlockDisk{}}; }
Device Card(const std::string& id) { return Device{id, NetworkCard{}}; }

TEST(DeviceSlotsTest, DisksLeaveTwoPortsAndGoToOneController) {
  DeviceSlots slots(4, 3);
  for (const char* id : {"a", "b"}) {
    const auto slot = slots.Take(Disk(id));
    ASSERT_TRUE(slot.ok());
    EXPECT_FALSE(slot->is_scsi);
  }
  const auto third = slots.Take(Disk("c"));
  EXPECT_TRUE(third->is_scsi && third->needs_controller);
  EXPECT_EQ(third->index, 5);
  for (int i = 0; i < 40; ++i) {
    const auto more = slots.Take(Disk("more-" + std::to_string(i)));
    EXPECT_TRUE(more->is_scsi && !more->needs_controller);
  }
  EXPECT_TRUE(slots.Take(Card("card")).ok());
  const absl::Status full = slots.Take(Card("another")).status();
  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
}

TEST(DeviceSlotsTest, APortIsFreeAgainAndAnIndexIsNot) {
  DeviceSlots slots(1, 0);
  EXPECT_EQ(slots.Take(Card("a"))->index, 0);
  EXPECT_TRUE(absl::IsResourceExhausted(slots.Take(Card("b")).status()));
  slots.Free("a");
  EXPECT_EQ(slots.Take(Card("b"))->index, 1);
}

TEST(DeviceSlotsTest, WithOnePortDisksGetIt) {
  DeviceSlots slots(1, 0);
  EXPECT_TRUE(slots.Take(Disk("a"))->needs_controller);
  EXPECT_TRUE(slots.Take(Disk("b"))->is_scsi);
  EXPECT_TRUE(absl::IsResourceExhausted(slots.Take(Card("c")).status()));
}

TEST(DeviceSlotsTest, WithoutPortsThereIsNoPlace) {
  DeviceSlots slots(0, 0);
  EXPECT_TRUE(absl::IsResourceExhausted(slots.Take(Disk("a")).status()));
  EXPECT_EQ(slots.Find("a"), nullptr);
}

TEST(DeviceSlotsTest, ADiskMayWantTheController) {
  DeviceSlots slots(8, 0);
  BlockDisk disk;
  disk.ways.is_on_scsi = true;
  EXPECT_TRUE(slots.Take(Device{"a", disk})->needs_controller);
  EXPECT_TRUE(slots.Take(Device{"b", disk})->is_scsi);
}

TEST(DeviceSlotsTest, AControllerThatFailedIsTriedAgain) {
  DeviceSlots slots(1, 0);
  EXPECT_TRUE(slots.Take(Disk("a"))->needs_controller);
  slots.ControllerFailed();
  slots.Free("a");
  EXPECT_TRUE(slots.Take(Disk("a"))->needs_controller);
}

TEST(DeviceSlotsTest, AnIdIsTakenOnce) {
  DeviceSlots slots(2, 0);
  EXPECT_TRUE(slots.Take(Card("a")).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(slots.Take(Card("a")).status()));
}

}  // namespace
}  // namespace kata::hypervisors
