// SPDX-License-Identifier: Apache-2.0
#include "shimv2/task/stats.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <limits>

namespace kata::shimv2 {
namespace {

namespace v1 = ::io::containerd::cgroups::v1;
namespace v2 = ::io::containerd::cgroups::v2;

constexpr char kCgroupRoot[] = "/sys/fs/cgroup";
constexpr uint64_t kNsPerUs = 1000;
constexpr uint64_t kV2NoLimit = std::numeric_limits<uint64_t>::max();

uint64_t Sum(uint64_t a, uint64_t b) {
  uint64_t out = 0;
  return __builtin_add_overflow(a, b, &out) ? std::numeric_limits<uint64_t>::max() : out;
}

uint64_t Nanoseconds(uint64_t us) {
  uint64_t out = 0;
  return __builtin_mul_overflow(us, kNsPerUs, &out) ? std::numeric_limits<uint64_t>::max() : out;
}

uint64_t LimitV1(uint64_t limit) { return limit < kV1NoLimit ? limit : kV1NoLimit; }

// Version 2 keeps no high-water mark; what is used now is the least that it can be.
void FillEntry(v1::MemoryEntry& entry, uint64_t usage, uint64_t limit, uint64_t failcnt) {
  entry.set_usage(usage);
  entry.set_max(usage);
  entry.set_limit(limit);
  entry.set_failcnt(failcnt);
}

void FillCpu(const v2::CPUStat& from, v1::CPUStat& to) {
  to.mutable_usage()->set_total(Nanoseconds(from.usage_usec()));
  to.mutable_usage()->set_kernel(Nanoseconds(from.system_usec()));
  to.mutable_usage()->set_user(Nanoseconds(from.user_usec()));
  to.mutable_throttling()->set_periods(from.nr_periods());
  to.mutable_throttling()->set_throttled_periods(from.nr_throttled());
  to.mutable_throttling()->set_throttled_time(Nanoseconds(from.throttled_usec()));
}

void FillMemory(const v2::Metrics& metrics, v1::MemoryStat& to) {
  const v2::MemoryStat& from = metrics.memory();
  to.set_cache(from.file());
  to.set_rss(from.anon());
  to.set_rss_huge(from.anon_thp());
  to.set_mapped_file(from.file_mapped());
  to.set_dirty(from.file_dirty());
  to.set_writeback(from.file_writeback());
  to.set_pg_fault(from.pgfault());
  to.set_pg_maj_fault(from.pgmajfault());
  to.set_inactive_anon(from.inactive_anon());
  to.set_active_anon(from.active_anon());
  to.set_inactive_file(from.inactive_file());
  to.set_active_file(from.active_file());
  to.set_unevictable(from.unevictable());
  // Version 2 counts a cgroup with all below it, so both kinds of number are the same.
  to.set_total_cache(from.file());
  to.set_total_rss(from.anon());
  to.set_total_rss_huge(from.anon_thp());
  to.set_total_mapped_file(from.file_mapped());
  to.set_total_dirty(from.file_dirty());
  to.set_total_writeback(from.file_writeback());
  to.set_total_pg_fault(from.pgfault());
  to.set_total_pg_maj_fault(from.pgmajfault());
  to.set_total_inactive_anon(from.inactive_anon());
  to.set_total_active_anon(from.active_anon());
  to.set_total_inactive_file(from.inactive_file());
  to.set_total_active_file(from.active_file());
  to.set_total_unevictable(from.unevictable());
  // Version 1 counts memory and swap together where it says swap.
  const uint64_t limit = LimitV1(from.usage_limit());
  const uint64_t swap_limit = LimitV1(Sum(from.usage_limit(), from.swap_limit()));
  to.set_hierarchical_memory_limit(limit);
  to.set_hierarchical_swap_limit(swap_limit);
  FillEntry(*to.mutable_usage(), from.usage(), limit, metrics.memory_events().max());
  FillEntry(*to.mutable_swap(), Sum(from.usage(), from.swap_usage()), swap_limit, 0);
  FillEntry(*to.mutable_kernel(), Sum(from.kernel_stack(), from.slab()), kV1NoLimit, 0);
  FillEntry(*to.mutable_kernel_tcp(), from.sock(), kV1NoLimit, 0);
}

template <typename Entries>
void AddDisk(Entries& entries, const v2::IOEntry& disk, uint64_t read, uint64_t written) {
  const auto add = [&entries, &disk](const char* op, uint64_t value) {
    v1::BlkIOEntry* entry = entries.Add();
    entry->set_op(op);
    entry->set_major(disk.major());
    entry->set_minor(disk.minor());
    entry->set_value(value);
  };
  add("Read", read);
  add("Write", written);
  add("Total", Sum(read, written));
}

}  // namespace

CgroupVersion HostCgroupVersion() {
  struct statfs info {};
  if (::statfs(kCgroupRoot, &info) != 0) return CgroupVersion::kV1;
  return info.f_type == CGROUP2_SUPER_MAGIC ? CgroupVersion::kV2 : CgroupVersion::kV1;
}

v1::Metrics ToMetricsV1(const agent::v1::StatsContainerResponse& stats) {
  const v2::Metrics& from = stats.metrics();
  v1::Metrics out;
  for (const v2::HugeTlbStat& size : from.hugetlb()) {
    v1::HugetlbStat* entry = out.add_hugetlb();
    entry->set_usage(size.current());
    entry->set_max(size.current());
    entry->set_pagesize(size.pagesize());
  }
  out.mutable_pids()->set_current(from.pids().current());
  out.mutable_pids()->set_limit(from.pids().limit() == kV2NoLimit ? 0 : from.pids().limit());
  FillCpu(from.cpu(), *out.mutable_cpu());
  FillMemory(from, *out.mutable_memory());
  v1::BlkIOStat* blkio = out.mutable_blkio();
  for (const v2::IOEntry& disk : from.io().usage()) {
    AddDisk(*blkio->mutable_io_service_bytes_recursive(), disk, disk.rbytes(), disk.wbytes());
    AddDisk(*blkio->mutable_io_serviced_recursive(), disk, disk.rios(), disk.wios());
  }
  out.mutable_rdma();
  for (const agent::v1::InterfaceStats& interface : stats.interfaces()) {
    v1::NetworkStat* entry = out.add_network();
    entry->set_name(interface.name());
    entry->set_rx_bytes(interface.rx_bytes());
    entry->set_rx_packets(interface.rx_packets());
    entry->set_rx_errors(interface.rx_errors());
    entry->set_rx_dropped(interface.rx_dropped());
    entry->set_tx_bytes(interface.tx_bytes());
    entry->set_tx_packets(interface.tx_packets());
    entry->set_tx_errors(interface.tx_errors());
    entry->set_tx_dropped(interface.tx_dropped());
  }
  out.mutable_cgroup_stats();
  out.mutable_memory_oom_control()->set_oom_kill(from.memory_events().oom_kill());
  return out;
}

v2::Metrics ToMetricsV2(const agent::v1::StatsContainerResponse& stats) {
  v2::Metrics out = stats.metrics();
  out.mutable_pids();
  out.mutable_cpu();
  out.mutable_memory();
  out.mutable_rdma();
  out.mutable_io();
  out.mutable_memory_events();
  return out;
}

wire::Any StatsAny(const agent::v1::StatsContainerResponse& stats, CgroupVersion version) {
  wire::Any out;
  // Bare names: the kubelet's side compares the whole URL.
  if (version == CgroupVersion::kV2) {
    out.set_type_url("io.containerd.cgroups.v2.Metrics");
    out.set_value(ToMetricsV2(stats).SerializeAsString());
  } else {
    out.set_type_url("io.containerd.cgroups.v1.Metrics");
    out.set_value(ToMetricsV1(stats).SerializeAsString());
  }
  return out;
}

}  // namespace kata::shimv2
