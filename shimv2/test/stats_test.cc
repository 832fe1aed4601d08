// SPDX-License-Identifier: Apache-2.0
#include "shimv2/task/stats.h"

#include <limits>

#include <gtest/gtest.h>

namespace kata::shimv2 {
namespace {

namespace v1 = ::io::containerd::cgroups::v1;
namespace v2 = ::io::containerd::cgroups::v2;

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

agent::v1::StatsContainerResponse Stats() {
  agent::v1::StatsContainerResponse stats;
  v2::Metrics& metrics = *stats.mutable_metrics();
  metrics.mutable_pids()->set_current(3);
  metrics.mutable_pids()->set_limit(100);
  v2::CPUStat& cpu = *metrics.mutable_cpu();
  cpu.set_usage_usec(30);
  cpu.set_user_usec(10);
  cpu.set_system_usec(20);
  cpu.set_nr_periods(4);
  cpu.set_nr_throttled(5);
  cpu.set_throttled_usec(6);
  v2::MemoryStat& memory = *metrics.mutable_memory();
  memory.set_anon(1);
  memory.set_file(2);
  memory.set_kernel_stack(3);
  memory.set_slab(4);
  memory.set_sock(5);
  memory.set_file_mapped(7);
  memory.set_file_dirty(8);
  memory.set_file_writeback(9);
  memory.set_anon_thp(10);
  memory.set_inactive_anon(11);
  memory.set_active_anon(12);
  memory.set_inactive_file(13);
  memory.set_active_file(14);
  memory.set_unevictable(15);
  memory.set_pgfault(18);
  memory.set_pgmajfault(19);
  memory.set_usage(1000);
  memory.set_usage_limit(2000);
  memory.set_swap_usage(30);
  memory.set_swap_limit(500);
  metrics.mutable_memory_events()->set_max(41);
  metrics.mutable_memory_events()->set_oom(42);
  metrics.mutable_memory_events()->set_oom_kill(43);
  for (uint64_t minor : {0, 16}) {
    v2::IOEntry* disk = metrics.mutable_io()->add_usage();
    disk->set_major(254);
    disk->set_minor(minor);
    disk->set_rbytes(minor + 100);
    disk->set_wbytes(minor + 200);
    disk->set_rios(minor + 1);
    disk->set_wios(minor + 2);
  }
  v2::HugeTlbStat* huge = metrics.add_hugetlb();
  huge->set_current(6);
  huge->set_max(kMax);
  huge->set_pagesize("2MB");
  agent::v1::InterfaceStats* interface = stats.add_interfaces();
  interface->set_name("eth0");
  interface->set_rx_bytes(1);
  interface->set_rx_packets(2);
  interface->set_rx_errors(3);
  interface->set_rx_dropped(4);
  interface->set_tx_bytes(5);
  interface->set_tx_packets(6);
  interface->set_tx_errors(7);
  interface->set_tx_dropped(8);
  return stats;
}

void ExpectEntry(const v1::MemoryEntry& entry, uint64_t usage, uint64_t limit, uint64_t failcnt) {
  EXPECT_EQ(entry.usage(), usage);
  EXPECT_EQ(entry.limit(), limit);
  EXPECT_EQ(entry.failcnt(), failcnt);
  EXPECT_EQ(entry.max(), usage);
}

void ExpectBlkio(const v1::BlkIOEntry& entry, const char* op, uint64_t minor, uint64_t value) {
  EXPECT_EQ(entry.op(), op);
  EXPECT_EQ(entry.major(), 254u);
  EXPECT_EQ(entry.minor(), minor);
  EXPECT_EQ(entry.value(), value);
}

TEST(Stats, Version1CountsCpuInNanosecondsWithEachModeInItsPlace) {
  const v1::CPUStat cpu = ToMetricsV1(Stats()).cpu();

  EXPECT_EQ(cpu.usage().total(), 30000u);
  EXPECT_EQ(cpu.usage().kernel(), 20000u);
  EXPECT_EQ(cpu.usage().user(), 10000u);
  EXPECT_EQ(cpu.usage().per_cpu_size(), 0);
  EXPECT_EQ(cpu.throttling().periods(), 4u);
  EXPECT_EQ(cpu.throttling().throttled_periods(), 5u);
  EXPECT_EQ(cpu.throttling().throttled_time(), 6000u);
}

TEST(Stats, Version1HasEveryMemoryNumberTwice) {
  const v1::MemoryStat memory = ToMetricsV1(Stats()).memory();

  EXPECT_EQ(memory.cache(), 2u);
  EXPECT_EQ(memory.rss(), 1u);
  EXPECT_EQ(memory.rss_huge(), 10u);
  EXPECT_EQ(memory.mapped_file(), 7u);
  EXPECT_EQ(memory.dirty(), 8u);
  EXPECT_EQ(memory.writeback(), 9u);
  EXPECT_EQ(memory.pg_fault(), 18u);
  EXPECT_EQ(memory.pg_maj_fault(), 19u);
  EXPECT_EQ(memory.inactive_anon(), 11u);
  EXPECT_EQ(memory.active_anon(), 12u);
  EXPECT_EQ(memory.inactive_file(), 13u);
  EXPECT_EQ(memory.active_file(), 14u);
  EXPECT_EQ(memory.unevictable(), 15u);
  EXPECT_EQ(memory.total_cache(), 2u);
  EXPECT_EQ(memory.total_rss(), 1u);
  EXPECT_EQ(memory.total_rss_huge(), 10u);
  EXPECT_EQ(memory.total_mapped_file(), 7u);
  EXPECT_EQ(memory.total_dirty(), 8u);
  EXPECT_EQ(memory.total_writeback(), 9u);
  EXPECT_EQ(memory.total_pg_fault(), 18u);
  EXPECT_EQ(memory.total_pg_maj_fault(), 19u);
  EXPECT_EQ(memory.total_inactive_anon(), 11u);
  EXPECT_EQ(memory.total_active_anon(), 12u);
  EXPECT_EQ(memory.total_inactive_file(), 13u);
  EXPECT_EQ(memory.total_active_file(), 14u);
  EXPECT_EQ(memory.total_unevictable(), 15u);
}

TEST(Stats, Version1CountsSwapTogetherWithMemory) {
  const v1::MemoryStat memory = ToMetricsV1(Stats()).memory();

  EXPECT_EQ(memory.hierarchical_memory_limit(), 2000u);
  EXPECT_EQ(memory.hierarchical_swap_limit(), 2500u);
  ExpectEntry(memory.usage(), 1000, 2000, 41);
  ExpectEntry(memory.swap(), 1030, 2500, 0);
  ExpectEntry(memory.kernel(), 7, kV1NoLimit, 0);
  ExpectEntry(memory.kernel_tcp(), 5, kV1NoLimit, 0);
}

TEST(Stats, Version1WritesNoLimitItsOwnWay) {
  agent::v1::StatsContainerResponse stats = Stats();
  stats.mutable_metrics()->mutable_memory()->set_usage_limit(kMax);
  stats.mutable_metrics()->mutable_memory()->set_swap_limit(kMax);
  stats.mutable_metrics()->mutable_pids()->set_limit(kMax);

  const v1::Metrics metrics = ToMetricsV1(stats);

  EXPECT_EQ(metrics.memory().usage().limit(), 9223372036854771712u);
  EXPECT_EQ(metrics.memory().swap().limit(), 9223372036854771712u);
  EXPECT_EQ(metrics.memory().hierarchical_memory_limit(), 9223372036854771712u);
  EXPECT_EQ(metrics.pids().limit(), 0u);
  EXPECT_EQ(ToMetricsV1(Stats()).pids().limit(), 100u);
}

TEST(Stats, Version1KeepsDisksApart) {
  const v1::BlkIOStat blkio = ToMetricsV1(Stats()).blkio();

  ASSERT_EQ(blkio.io_service_bytes_recursive_size(), 6);
  ExpectBlkio(blkio.io_service_bytes_recursive(0), "Read", 0, 100);
  ExpectBlkio(blkio.io_service_bytes_recursive(1), "Write", 0, 200);
  ExpectBlkio(blkio.io_service_bytes_recursive(2), "Total", 0, 300);
  ExpectBlkio(blkio.io_service_bytes_recursive(3), "Read", 16, 116);
  ExpectBlkio(blkio.io_service_bytes_recursive(4), "Write", 16, 216);
  ExpectBlkio(blkio.io_service_bytes_recursive(5), "Total", 16, 332);
  ASSERT_EQ(blkio.io_serviced_recursive_size(), 6);
  ExpectBlkio(blkio.io_serviced_recursive(0), "Read", 0, 1);
  ExpectBlkio(blkio.io_serviced_recursive(5), "Total", 16, 35);
}

TEST(Stats, Version1HasPidsHugePagesNetworkAndOomKills) {
  const v1::Metrics metrics = ToMetricsV1(Stats());

  EXPECT_EQ(metrics.pids().current(), 3u);
  ASSERT_EQ(metrics.hugetlb_size(), 1);
  EXPECT_EQ(metrics.hugetlb(0).usage(), 6u);
  EXPECT_EQ(metrics.hugetlb(0).pagesize(), "2MB");
  EXPECT_EQ(metrics.memory_oom_control().oom_kill(), 43u);
  ASSERT_EQ(metrics.network_size(), 1);
  const v1::NetworkStat& network = metrics.network(0);
  EXPECT_EQ(network.name(), "eth0");
  EXPECT_EQ(network.rx_bytes(), 1u);
  EXPECT_EQ(network.rx_packets(), 2u);
  EXPECT_EQ(network.rx_errors(), 3u);
  EXPECT_EQ(network.rx_dropped(), 4u);
  EXPECT_EQ(network.tx_bytes(), 5u);
  EXPECT_EQ(network.tx_packets(), 6u);
  EXPECT_EQ(network.tx_errors(), 7u);
  EXPECT_EQ(network.tx_dropped(), 8u);
}

TEST(Stats, EmptyAnswerHasEverySubMessage) {
  const agent::v1::StatsContainerResponse nothing;

  const v1::Metrics one = ToMetricsV1(nothing);
  EXPECT_TRUE(one.has_pids() && one.has_cpu() && one.has_memory() && one.has_blkio() && one.has_rdma());
  EXPECT_TRUE(one.cpu().has_usage() && one.cpu().has_throttling());
  EXPECT_TRUE(one.memory().has_usage() && one.memory().has_swap() && one.memory().has_kernel() &&
              one.memory().has_kernel_tcp());
  const v2::Metrics two = ToMetricsV2(nothing);
  EXPECT_TRUE(two.has_pids() && two.has_cpu() && two.has_memory() && two.has_io() && two.has_memory_events());
}

TEST(Stats, HostileNumbersSaturate) {
  agent::v1::StatsContainerResponse stats = Stats();
  stats.mutable_metrics()->mutable_cpu()->set_usage_usec(kMax);
  stats.mutable_metrics()->mutable_memory()->set_usage(kMax);
  stats.mutable_metrics()->mutable_io()->mutable_usage(0)->set_rbytes(kMax);

  const v1::Metrics metrics = ToMetricsV1(stats);

  EXPECT_EQ(metrics.cpu().usage().total(), kMax);
  EXPECT_EQ(metrics.memory().swap().usage(), kMax);
  EXPECT_EQ(metrics.blkio().io_service_bytes_recursive(2).value(), kMax);
}

TEST(Stats, TypesAreBareNames) {
  const wire::Any one = StatsAny(Stats(), CgroupVersion::kV1);
  EXPECT_EQ(one.type_url(), "io.containerd.cgroups.v1.Metrics");
  v1::Metrics parsed_one;
  ASSERT_TRUE(parsed_one.ParseFromString(one.value()));
  EXPECT_EQ(parsed_one.memory().usage().usage(), 1000u);

  agent::v1::StatsContainerResponse unlimited = Stats();
  unlimited.mutable_metrics()->mutable_memory()->set_usage_limit(kMax);
  const wire::Any two = StatsAny(unlimited, CgroupVersion::kV2);
  EXPECT_EQ(two.type_url(), "io.containerd.cgroups.v2.Metrics");
  v2::Metrics parsed_two;
  ASSERT_TRUE(parsed_two.ParseFromString(two.value()));
  EXPECT_EQ(parsed_two.memory().usage_limit(), kMax);
  EXPECT_EQ(parsed_two.memory_events().oom_kill(), 43u);
}

}  // namespace
}  // namespace kata::shimv2
