// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup/stats.h"

#include <limits>

#include <gtest/gtest.h>

#include "agent/test/control_files.h"
#include "proto/schema/agent.pb.h"
#include "proto/schema/metrics_v2.pb.h"

namespace kata::agent {
namespace {

using io::containerd::cgroups::v2::Metrics;

constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();

TEST(ReadMetrics, GivesEverySubmessageForAnEmptyDirectory) {
  ControlFiles cgroup;
  Metrics metrics;

  ReadMetrics(cgroup.path(), metrics);

  EXPECT_TRUE(metrics.has_pids() && metrics.has_cpu() && metrics.has_memory() && metrics.has_io());
  EXPECT_TRUE(metrics.has_memory_events() && metrics.has_rdma());
  EXPECT_EQ(metrics.memory().usage(), 0u);
}

TEST(ReadMetrics, ReadsPidsAndCpu) {
  ControlFiles cgroup;
  cgroup.Write("pids.current", "3\n");
  cgroup.Write("pids.max", "max\n");
  cgroup.Write("cpu.stat",
               "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\n"
               "nr_throttled 2\nthrottled_usec 7\nnr_bursts 1\n");
  Metrics metrics;

  ReadMetrics(cgroup.path(), metrics);

  EXPECT_EQ(metrics.pids().current(), 3u);
  EXPECT_EQ(metrics.pids().limit(), kNone);
  EXPECT_EQ(metrics.cpu().usage_usec(), 30u);
  EXPECT_EQ(metrics.cpu().user_usec(), 20u);
  EXPECT_EQ(metrics.cpu().system_usec(), 10u);
  EXPECT_EQ(metrics.cpu().nr_periods(), 4u);
  EXPECT_EQ(metrics.cpu().nr_throttled(), 2u);
  EXPECT_EQ(metrics.cpu().throttled_usec(), 7u);
}

TEST(ReadMetrics, ReadsMemoryAndItsEvents) {
  ControlFiles cgroup;
  cgroup.Write("memory.current", "5000\n");
  cgroup.Write("memory.max", "8000\n");
  cgroup.Write("memory.swap.max", "max\n");
  cgroup.Write("memory.stat",
               "anon 1\nfile 2\ninactive_file 3\npgfault 4\npgmajfault 5\n"
               "workingset_refault_anon 6\nworkingset_refault_file 7\n");
  cgroup.Write("memory.events", "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n");
  Metrics metrics;

  ReadMetrics(cgroup.path(), metrics);

  EXPECT_EQ(metrics.memory().usage(), 5000u);
  EXPECT_EQ(metrics.memory().usage_limit(), 8000u);
  EXPECT_EQ(metrics.memory().swap_limit(), kNone);
  EXPECT_EQ(metrics.memory().anon(), 1u);
  EXPECT_EQ(metrics.memory().inactive_file(), 3u);
  EXPECT_EQ(metrics.memory().pgmajfault(), 5u);
  EXPECT_EQ(metrics.memory().workingset_refault(), 13u);
  EXPECT_EQ(metrics.memory_events().oom_kill(), 5u);
  EXPECT_EQ(metrics.memory_events().oom(), 4u);
}

TEST(ReadMetrics, ReadsDisksAndHugePages) {
  ControlFiles cgroup;
  cgroup.Write("io.stat",
               "254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n"
               "nonsense\n254:16 rbytes=9\n");
  cgroup.Write("hugetlb.2MB.current", "4194304\n");
  cgroup.Write("hugetlb.2MB.max", "max\n");
  cgroup.Write("hugetlb.2MB.rsvd.current", "1\n");
  Metrics metrics;

  ReadMetrics(cgroup.path(), metrics);

  ASSERT_EQ(metrics.io().usage_size(), 2);
  EXPECT_EQ(metrics.io().usage(0).major(), 254u);
  EXPECT_EQ(metrics.io().usage(0).wbytes(), 2u);
  EXPECT_EQ(metrics.io().usage(0).wios(), 4u);
  EXPECT_EQ(metrics.io().usage(1).minor(), 16u);
  ASSERT_EQ(metrics.hugetlb_size(), 1);
  EXPECT_EQ(metrics.hugetlb(0).pagesize(), "2MB");
  EXPECT_EQ(metrics.hugetlb(0).current(), 4194304u);
  EXPECT_EQ(metrics.hugetlb(0).max(), kNone);
}

TEST(ParseInterfaces, LeavesTheLoopbackAndTheHeadingsOut) {
  v1::StatsContainerResponse response;

  ParseInterfaces(
      "Inter-|   Receive                            |  Transmit\n"
      " face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop\n"
      "    lo: 100 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0\n"
      "  eth0:1001 2 3 4 0 0 0 0 1005 6 7 8 0 0 0 0\n",
      response);

  ASSERT_EQ(response.interfaces_size(), 1);
  const v1::InterfaceStats& eth0 = response.interfaces(0);
  EXPECT_EQ(eth0.name(), "eth0");
  EXPECT_EQ(eth0.rx_bytes(), 1001u);
  EXPECT_EQ(eth0.rx_packets(), 2u);
  EXPECT_EQ(eth0.rx_errors(), 3u);
  EXPECT_EQ(eth0.rx_dropped(), 4u);
  EXPECT_EQ(eth0.tx_bytes(), 1005u);
  EXPECT_EQ(eth0.tx_packets(), 6u);
  EXPECT_EQ(eth0.tx_errors(), 7u);
  EXPECT_EQ(eth0.tx_dropped(), 8u);
}

}  // namespace
}  // namespace kata::agent
