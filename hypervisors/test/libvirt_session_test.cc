// SPDX-License-Identifier: Apache-2.0
// The wrapper against libvirt's built-in test driver: no machine starts.
#include "hypervisors/libvirt/libvirt_session.h"

#include <condition_variable>
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kata::hypervisors {
namespace {

constexpr char kDomain[] =
    "<domain type='test'><name>smoke</name><memory>8192</memory><os><type>hvm</type></os></domain>";

TEST(LibvirtSessionTest, LifeCycleAndEvents) {
  std::mutex mutex;
  std::condition_variable changed;
  bool is_stopped = false;
  absl::StatusOr<std::unique_ptr<LibvirtSession>> session =
      LibvirtSession::Open("test:///default", [&](DomainEvent event) {
        const std::lock_guard<std::mutex> lock(mutex);
        is_stopped = is_stopped || event == DomainEvent::kStopped;
        changed.notify_all();
      });
  ASSERT_TRUE(session.ok()) << session.status();
  ASSERT_TRUE((*session)->Create(kDomain, {}).ok());
  EXPECT_TRUE((*session)->IsActive());
  EXPECT_TRUE((*session)->Pause().ok());
  EXPECT_FALSE((*session)->Pause().ok());
  EXPECT_TRUE((*session)->Resume().ok());
  EXPECT_TRUE((*session)->Destroy().ok());
  EXPECT_TRUE((*session)->Destroy().ok());
  {
    std::unique_lock<std::mutex> lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(10), [&] { return is_stopped; }));
  }
  session->reset();
}

TEST(LibvirtSessionTest, ErrorsSayWhatAndWhy) {
  absl::StatusOr<std::unique_ptr<LibvirtSession>> session = LibvirtSession::Open("test:///default", [](DomainEvent) {});
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_THAT(std::string((*session)->Create("<domain/>", {}).message()), ::testing::HasSubstr("create domain: "));
}

}  // namespace
}  // namespace kata::hypervisors
