// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup/stats.h"

#include <dirent.h>

#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <vector>

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "proto/base/fd.h"
#include "proto/schema/agent.pb.h"
#include "proto/schema/metrics_v2.pb.h"

namespace kata::agent {
namespace {

namespace v2 = io::containerd::cgroups::v2;
using Counters = std::map<std::string, uint64_t>;

constexpr size_t kFileSizeMax = 1u << 20;
constexpr int kPageSizesMax = 16;

uint64_t NumberOf(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  if (text == "max") return std::numeric_limits<uint64_t>::max();
  uint64_t value = 0;
  return absl::SimpleAtoi(text, &value) ? value : 0;
}

uint64_t ReadNumber(const std::string& path) {
  auto text = ReadFile(path, kFileSizeMax);
  return text.ok() ? NumberOf(*text) : 0;
}

Counters ReadCounters(const std::string& path) {
  Counters out;
  auto text = ReadFile(path, kFileSizeMax);
  if (!text.ok()) return out;
  for (absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (words.size() == 2) out[std::string(words[0])] = NumberOf(words[1]);
  }
  return out;
}

uint64_t At(const Counters& counters, const std::string& key) {
  auto found = counters.find(key);
  return found == counters.end() ? 0 : found->second;
}

template <typename Message>
struct Field {
  const char* key;
  void (Message::*set)(uint64_t);
};

template <typename Message, size_t kCount>
void Fill(const Counters& counters, const Field<Message> (&fields)[kCount], Message& out) {
  for (const Field<Message>& field : fields) (out.*field.set)(At(counters, field.key));
}

void ReadCpu(const std::string& cgroup, v2::CPUStat& out) {
  static constexpr Field<v2::CPUStat> kFields[] = {
      {"usage_usec", &v2::CPUStat::set_usage_usec},     {"user_usec", &v2::CPUStat::set_user_usec},
      {"system_usec", &v2::CPUStat::set_system_usec},   {"nr_periods", &v2::CPUStat::set_nr_periods},
      {"nr_throttled", &v2::CPUStat::set_nr_throttled}, {"throttled_usec", &v2::CPUStat::set_throttled_usec}};
  Fill(ReadCounters(absl::StrCat(cgroup, "/cpu.stat")), kFields, out);
}

void ReadMemory(const std::string& cgroup, v2::MemoryStat& out) {
  static constexpr Field<v2::MemoryStat> kFields[] = {
      {"anon", &v2::MemoryStat::set_anon},
      {"file", &v2::MemoryStat::set_file},
      {"kernel_stack", &v2::MemoryStat::set_kernel_stack},
      {"slab", &v2::MemoryStat::set_slab},
      {"sock", &v2::MemoryStat::set_sock},
      {"shmem", &v2::MemoryStat::set_shmem},
      {"file_mapped", &v2::MemoryStat::set_file_mapped},
      {"file_dirty", &v2::MemoryStat::set_file_dirty},
      {"file_writeback", &v2::MemoryStat::set_file_writeback},
      {"anon_thp", &v2::MemoryStat::set_anon_thp},
      {"inactive_anon", &v2::MemoryStat::set_inactive_anon},
      {"active_anon", &v2::MemoryStat::set_active_anon},
      {"inactive_file", &v2::MemoryStat::set_inactive_file},
      {"active_file", &v2::MemoryStat::set_active_file},
      {"unevictable", &v2::MemoryStat::set_unevictable},
      {"slab_reclaimable", &v2::MemoryStat::set_slab_reclaimable},
      {"slab_unreclaimable", &v2::MemoryStat::set_slab_unreclaimable},
      {"pgfault", &v2::MemoryStat::set_pgfault},
      {"pgmajfault", &v2::MemoryStat::set_pgmajfault},
      {"workingset_refault", &v2::MemoryStat::set_workingset_refault},
      {"workingset_activate", &v2::MemoryStat::set_workingset_activate},
      {"workingset_nodereclaim", &v2::MemoryStat::set_workingset_nodereclaim},
      {"pgrefill", &v2::MemoryStat::set_pgrefill},
      {"pgscan", &v2::MemoryStat::set_pgscan},
      {"pgsteal", &v2::MemoryStat::set_pgsteal},
      {"pgactivate", &v2::MemoryStat::set_pgactivate},
      {"pgdeactivate", &v2::MemoryStat::set_pgdeactivate},
      {"pglazyfree", &v2::MemoryStat::set_pglazyfree},
      {"pglazyfreed", &v2::MemoryStat::set_pglazyfreed},
      {"thp_fault_alloc", &v2::MemoryStat::set_thp_fault_alloc},
      {"thp_collapse_alloc", &v2::MemoryStat::set_thp_collapse_alloc}};
  Counters counters = ReadCounters(absl::StrCat(cgroup, "/memory.stat"));
  // Since Linux 5.9 these are counted apart for anonymous memory and for files.
  for (const char* key : {"workingset_refault", "workingset_activate"}) {
    if (counters.count(key) == 0) {
      counters[key] = At(counters, absl::StrCat(key, "_anon")) + At(counters, absl::StrCat(key, "_file"));
    }
  }
  Fill(counters, kFields, out);
  out.set_usage(ReadNumber(absl::StrCat(cgroup, "/memory.current")));
  out.set_usage_limit(ReadNumber(absl::StrCat(cgroup, "/memory.max")));
  out.set_swap_usage(ReadNumber(absl::StrCat(cgroup, "/memory.swap.current")));
  out.set_swap_limit(ReadNumber(absl::StrCat(cgroup, "/memory.swap.max")));
}

void ReadMemoryEvents(const std::string& cgroup, v2::MemoryEvents& out) {
  static constexpr Field<v2::MemoryEvents> kFields[] = {{"low", &v2::MemoryEvents::set_low},
                                                        {"high", &v2::MemoryEvents::set_high},
                                                        {"max", &v2::MemoryEvents::set_max},
                                                        {"oom", &v2::MemoryEvents::set_oom},
                                                        {"oom_kill", &v2::MemoryEvents::set_oom_kill}};
  Fill(ReadCounters(absl::StrCat(cgroup, "/memory.events")), kFields, out);
}

// "8:0 rbytes=1 wbytes=2 rios=3 wios=4 …"
void ReadIo(const std::string& cgroup, v2::IOStat& out) {
  static constexpr Field<v2::IOEntry> kFields[] = {{"rbytes", &v2::IOEntry::set_rbytes},
                                                   {"wbytes", &v2::IOEntry::set_wbytes},
                                                   {"rios", &v2::IOEntry::set_rios},
                                                   {"wios", &v2::IOEntry::set_wios}};
  auto text = ReadFile(absl::StrCat(cgroup, "/io.stat"), kFileSizeMax);
  if (!text.ok()) return;
  for (absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (words.empty() || out.usage_size() >= kStatsDisksMax) continue;
    std::pair<absl::string_view, absl::string_view> device = absl::StrSplit(words[0], ':');
    uint64_t major = 0;
    uint64_t minor = 0;
    if (!absl::SimpleAtoi(device.first, &major) || !absl::SimpleAtoi(device.second, &minor)) continue;
    Counters counters;
    for (absl::string_view word : words) {
      std::pair<std::string, absl::string_view> parts = absl::StrSplit(word, absl::MaxSplits('=', 1));
      counters[parts.first] = NumberOf(parts.second);
    }
    v2::IOEntry& entry = *out.add_usage();
    entry.set_major(major);
    entry.set_minor(minor);
    Fill(counters, kFields, entry);
  }
}

void ReadHugePages(const std::string& cgroup, v2::Metrics& out) {
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(cgroup.c_str()), ::closedir);
  if (dir == nullptr) return;
  while (dirent* entry = ::readdir(dir.get())) {
    // hugetlb.2MB.current; the one of reservations has one part more.
    std::vector<std::string> parts = absl::StrSplit(entry->d_name, '.');
    if (parts.size() != 3 || parts[0] != "hugetlb" || parts[2] != "current") continue;
    if (out.hugetlb_size() >= kPageSizesMax) return;
    const std::string prefix = absl::StrCat(cgroup, "/hugetlb.", parts[1]);
    v2::HugeTlbStat& stat = *out.add_hugetlb();
    stat.set_pagesize(parts[1]);
    stat.set_current(ReadNumber(absl::StrCat(prefix, ".current")));
    stat.set_max(ReadNumber(absl::StrCat(prefix, ".max")));
  }
}

}  // namespace

uint64_t ReadCounter(const std::string& path, absl::string_view key) {
  return At(ReadCounters(path), std::string(key));
}

void ReadMetrics(const std::string& cgroup, v2::Metrics& out) {
  out.mutable_pids()->set_current(ReadNumber(absl::StrCat(cgroup, "/pids.current")));
  out.mutable_pids()->set_limit(ReadNumber(absl::StrCat(cgroup, "/pids.max")));
  ReadCpu(cgroup, *out.mutable_cpu());
  ReadMemory(cgroup, *out.mutable_memory());
  ReadMemoryEvents(cgroup, *out.mutable_memory_events());
  ReadIo(cgroup, *out.mutable_io());
  out.mutable_rdma();
  ReadHugePages(cgroup, out);
}

void ParseInterfaces(absl::string_view text, v1::StatsContainerResponse& out) {
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(line, absl::MaxSplits(':', 1));
    const std::string name(absl::StripAsciiWhitespace(parts.first));
    std::vector<absl::string_view> values = absl::StrSplit(parts.second, ' ', absl::SkipEmpty());
    // The two lines of headings have no colon.
    if (name.empty() || name == "lo" || values.size() < 12) continue;
    if (out.interfaces_size() >= kStatsInterfacesMax) return;
    v1::InterfaceStats& entry = *out.add_interfaces();
    entry.set_name(name);
    entry.set_rx_bytes(NumberOf(values[0]));
    entry.set_rx_packets(NumberOf(values[1]));
    entry.set_rx_errors(NumberOf(values[2]));
    entry.set_rx_dropped(NumberOf(values[3]));
    entry.set_tx_bytes(NumberOf(values[8]));
    entry.set_tx_packets(NumberOf(values[9]));
    entry.set_tx_errors(NumberOf(values[10]));
    entry.set_tx_dropped(NumberOf(values[11]));
  }
}

}  // namespace kata::agent
