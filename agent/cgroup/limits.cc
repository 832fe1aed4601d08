// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup/limits.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>

#include "agent/cgroup/stats.h"
#include "agent/oci/scheduling.h"
#include "proto/base/fd.h"
#include "proto/base/log.h"
#include "proto/base/status.h"

namespace kata::agent {
namespace {

constexpr size_t kFileSizeMax = 1u << 20;
constexpr uint64_t kBlockWeightMin = 10;
constexpr uint64_t kBlockWeightMax = 1000;

using Values = std::vector<CgroupValue>;

std::string LimitText(int64_t value) { return value < 0 ? "max" : absl::StrCat(value); }

std::string PathOf(const std::string& cgroup, const std::string& file) { return absl::StrCat(cgroup, "/", file); }

bool Exists(const std::string& cgroup, const std::string& file) {
  return ::access(PathOf(cgroup, file).c_str(), F_OK) == 0;
}

void Add(Values& out, const char* file, std::string value, const char* limit) {
  out.push_back(CgroupValue{.file = file, .value = std::move(value), .limit = absl::StrCat("linux.resources.", limit)});
}

// The numbers are the host's, for which as many processors of the guest stand. A text that is no list is the kernel's
// to refuse.
std::string CpusText(const std::string& wanted, const std::vector<unsigned>& guest) {
  auto cpus = ParseCpuList(wanted);
  return cpus.ok() ? CpuListText(GuestCpus(*cpus, guest)) : wanted;
}

// Memory nodes of the host mean nothing in the guest, unless it has them as well.
std::string MemsText(const std::string& wanted, const std::vector<unsigned>& guest) {
  auto mems = ParseCpuList(wanted);
  if (!mems.ok() || guest.empty()) return wanted;
  std::erase_if(*mems, [&](unsigned node) { return !std::binary_search(guest.begin(), guest.end(), node); });
  return CpuListText(*mems);
}

std::vector<unsigned> ReadList(const std::string& cgroup, const char* file) {
  auto text = ReadFile(PathOf(cgroup, file), kFileSizeMax);
  if (!text.ok()) return {};
  auto list = ParseCpuList(*text);
  return list.ok() ? *list : std::vector<unsigned>();
}

void AddCpu(const Resources& r, const CgroupNow& now, Values& out) {
  // The kernel takes no weight for an idle group: it stops being idle first, becomes idle last.
  if (r.cpu_idle && *r.cpu_idle == 0) Add(out, "cpu.idle", "0", "cpu.idle");
  if (r.cpu_shares.value_or(0) != 0)
    Add(out, "cpu.weight", absl::StrCat(CpuWeightOfShares(*r.cpu_shares)), "cpu.shares");
  if (r.cpu_idle && *r.cpu_idle != 0) Add(out, "cpu.idle", absl::StrCat(*r.cpu_idle), "cpu.idle");
  // A burst may not exceed the quota, neither before nor after: the one that fits goes first.
  const bool burst_fits = r.cpu_burst && (!now.cpu_quota || *r.cpu_burst <= static_cast<uint64_t>(*now.cpu_quota));
  if (burst_fits) Add(out, "cpu.max.burst", absl::StrCat(*r.cpu_burst), "cpu.burst");
  if (r.cpu_quota.value_or(0) != 0 || r.cpu_period.value_or(0) != 0) {
    int64_t quota = r.cpu_quota.value_or(0);
    if (quota == 0) quota = now.cpu_quota.value_or(-1);
    const uint64_t period = r.cpu_period.value_or(0) == 0 ? now.cpu_period : *r.cpu_period;
    Add(out, "cpu.max", absl::StrCat(LimitText(quota), " ", period), "cpu.quota");
  }
  if (r.cpu_burst && !burst_fits) Add(out, "cpu.max.burst", absl::StrCat(*r.cpu_burst), "cpu.burst");
  if (!r.cpuset_cpus.empty()) Add(out, "cpuset.cpus", CpusText(r.cpuset_cpus, now.cpus), "cpu.cpus");
  const std::string mems = MemsText(r.cpuset_mems, now.mems);
  if (!mems.empty()) Add(out, "cpuset.mems", mems, "cpu.mems");
}

absl::StatusOr<std::string> SwapValue(const Resources& r, const CgroupNow& now) {
  const int64_t swap = r.memory_swap.value_or(0);
  const int64_t limit = r.memory_limit.value_or(0);
  // As runc: no limit of memory means none of both, unless told otherwise.
  if (swap < 0 || (swap == 0 && limit < 0)) return std::string("max");
  if (swap == 0) return std::string();
  // The spec counts memory and swap together, the kernel swap alone.
  uint64_t base = static_cast<uint64_t>(std::max<int64_t>(limit, 0));
  if (limit == 0 && now.memory_limit) base = *now.memory_limit;
  if (base == 0 || static_cast<uint64_t>(swap) < base) {
    return absl::InvalidArgumentError(absl::StrCat("linux.resources.memory.swap ", swap,
                                                   ": must be at least the memory limit",
                                                   base == 0 ? ", which is not set" : absl::StrCat(" ", base)));
  }
  return absl::StrCat(static_cast<uint64_t>(swap) - base);
}

absl::Status AddMemory(const Resources& r, const CgroupNow& now, Values& out) {
  const int64_t limit = r.memory_limit.value_or(0);
  if (limit != 0) Add(out, "memory.max", LimitText(limit), "memory.limit");
  ASSIGN_OR_RETURN(std::string swap, SwapValue(r, now));
  if (!swap.empty()) {
    Add(out, "memory.swap.max", std::move(swap), "memory.swap");
    // Without swap in the kernel there is nothing to limit. Engines send it with every limit.
    out.back().may_lack_at_create = out.back().may_lack_at_update = true;
  }
  if (r.memory_reservation.value_or(0) != 0)
    Add(out, "memory.low", LimitText(*r.memory_reservation), "memory.reservation");
  return absl::OkStatus();
}

void AddHugepages(const Resources& r, const CgroupNow& now, Values& out) {
  for (const HugepageLimit& item : r.hugepage_limits) {
    const std::string prefix = absl::StrCat("hugetlb.", item.page_size);
    CgroupValue value{.file = absl::StrCat(prefix, ".max"),
                      .value = absl::StrCat(item.limit),
                      .limit = absl::StrCat("linux.resources.hugepageLimits ", item.page_size)};
    // Kubernetes sends a limit for each page size of the host. A size that the guest does not have
    // cannot be used there, so that the limit holds by itself.
    value.may_lack_at_create = true;
    value.may_lack_at_update = item.limit == 0;
    out.push_back(value);
    if (!now.has_hugepage_reservations) continue;
    value.file = absl::StrCat(prefix, ".rsvd.max");
    out.push_back(std::move(value));
  }
}

absl::StatusOr<CgroupValue> BlockWeightValue(const std::string& device, uint64_t weight, const CgroupNow& now) {
  if (weight < kBlockWeightMin || weight > kBlockWeightMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("linux.resources.blockIO.weight ", weight, ": not in ", kBlockWeightMin, "-", kBlockWeightMax));
  }
  const uint64_t number = now.has_bfq_weight ? weight : IoWeightOfBlockWeight(weight);
  return CgroupValue{.file = now.has_bfq_weight ? "io.bfq.weight" : "io.weight",
                     .value = device.empty() ? absl::StrCat("default ", number) : absl::StrCat(device, " ", number),
                     .limit = "linux.resources.blockIO.weight",
                     // A share among containers, not a bound: a guest without it runs them all alike.
                     .may_lack_at_create = true};
}

absl::Status AddBlockIo(const Resources& r, const CgroupNow& now, Values& out) {
  // Docker writes 0 for "not set".
  if (r.block_weight.value_or(0) != 0) {
    ASSIGN_OR_RETURN(CgroupValue value, BlockWeightValue("", *r.block_weight, now));
    out.push_back(std::move(value));
  }
  for (const BlockWeight& item : r.block_weights) {
    if (item.weight == 0) continue;  // only a leafWeight, which version 2 does not have
    ASSIGN_OR_RETURN(CgroupValue value, BlockWeightValue(item.device, item.weight, now));
    value.is_of_device = true;
    out.push_back(std::move(value));
  }
  for (const BlockThrottle& item : r.block_throttles) {
    // 0 takes a limit away in version 1; version 2 refuses it.
    const std::string rate = item.rate == 0 ? "max" : absl::StrCat(item.rate);
    Add(out, "io.max", absl::StrCat(item.device, " ", item.key, "=", rate), "blockIO.throttle");
    out.back().is_of_device = true;
    out.back().may_lack_at_create = true;  // a guest without any disk has no limits for them
    out.back().may_lack_at_update = true;
  }
  return absl::OkStatus();
}

absl::Status AddUnified(const Resources& r, Values& out) {
  for (const auto& [file, value] : r.unified) {
    const std::string limit = absl::StrCat("linux.resources.unified \"", file, "\"");
    if (file.empty() || absl::StrContains(file, '/') || !absl::StrContains(file, '.') || file[0] == '.') {
      return absl::InvalidArgumentError(absl::StrCat(limit, ": not a file name"));
    }
    // Others of that prefix move, stop or kill processes behind the agent's back.
    if (absl::StartsWith(file, "cgroup.") && !absl::StartsWith(file, "cgroup.max."))
      return absl::InvalidArgumentError(absl::StrCat(limit, ": not a limit"));
    // The kernel takes one line per write.
    for (absl::string_view line : absl::StrSplit(value, '\n', absl::SkipEmpty()))
      out.push_back(CgroupValue{.file = file, .value = std::string(line), .limit = limit});
  }
  return absl::OkStatus();
}

absl::Status WriteValue(const std::string& cgroup, const CgroupValue& value) {
  // A write of nothing would not reach the kernel.
  const std::string text = value.value.empty() ? "\n" : value.value;
  UniqueFd file(::open(PathOf(cgroup, value.file).c_str(), O_WRONLY | O_CLOEXEC));
  absl::Status status = file.valid() ? absl::OkStatus() : ErrnoStatus(errno, "opening");
  if (status.ok() && ::write(file.get(), text.data(), text.size()) < 0) {
    // A volume's disk is the host's: its limit cannot hold in the guest.
    if (value.is_of_device && (errno == ENODEV || errno == ENXIO)) {
      log::Info("{}: the guest has no device {}", value.limit, text.substr(0, text.find(' ')));
      return absl::OkStatus();
    }
    status = ErrnoStatus(errno, "writing");
  }
  if (status.ok()) return status;
  return absl::InternalError(
      absl::StrCat(value.limit, ": setting cgroup ", value.file, " to \"", value.value, "\": ", status.message()));
}

absl::Status Lacking(const CgroupValue& value) {
  return absl::InvalidArgumentError(absl::StrCat(value.limit, ": the guest's kernel has no cgroup ", value.file));
}

// What to write so that `value` is undone, given the file's text before.
std::string UndoText(const CgroupValue& value, absl::string_view before) {
  before = absl::StripAsciiWhitespace(before);
  const bool is_weight = value.file == "io.weight" || value.file == "io.bfq.weight";
  if (value.file != "io.max" && !is_weight) return std::string(before);
  const std::string key = value.value.substr(0, value.value.find(' '));
  for (absl::string_view line : absl::StrSplit(before, '\n')) {
    if (absl::StartsWith(line, absl::StrCat(key, " "))) return std::string(line);
  }
  return absl::StrCat(key, is_weight ? " default" : " rbps=max wbps=max riops=max wiops=max");
}

// Page cache goes when the limit asks for it; everything else may end in an OOM kill.
absl::Status CheckMemoryUsage(const std::string& cgroup, const Resources& r) {
  const int64_t limit = r.memory_limit.value_or(0);
  if (limit <= 0) return absl::OkStatus();
  auto text = ReadFile(PathOf(cgroup, "memory.current"), kFileSizeMax);
  uint64_t usage = 0;
  if (!text.ok() || !absl::SimpleAtoi(absl::StripAsciiWhitespace(*text), &usage)) return absl::OkStatus();
  uint64_t needed = usage;
  if (!r.memory_check_before_update) {
    const std::string stat = PathOf(cgroup, "memory.stat");
    for (const char* key : {"active_file", "inactive_file", "slab_reclaimable"})
      needed -= std::min(needed, ReadCounter(stat, key));
  }
  if (needed <= static_cast<uint64_t>(limit)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("linux.resources.memory.limit: rejecting memory limit ", limit,
                                                    " < usage ", usage, " (", needed, " of it cannot be given back)"));
}

}  // namespace

uint64_t CpuWeightOfShares(uint64_t shares) {
  if (shares == 0) return 0;
  shares = std::clamp<uint64_t>(shares, 2, 262144);
  return 1 + ((shares - 2) * 9999) / 262142;
}

uint64_t IoWeightOfBlockWeight(uint64_t weight) {
  weight = std::clamp(weight, kBlockWeightMin, kBlockWeightMax);
  return 1 + (weight - kBlockWeightMin) * 9999 / (kBlockWeightMax - kBlockWeightMin);
}

CgroupNow ReadCgroupNow(const std::string& cgroup) {
  CgroupNow now;
  now.cpus = ReadList(cgroup, "cpuset.cpus.effective");
  now.mems = ReadList(cgroup, "cpuset.mems.effective");
  now.has_bfq_weight = Exists(cgroup, "io.bfq.weight");
  now.has_hugepage_reservations = Exists(cgroup, "hugetlb.2MB.rsvd.max");
  if (auto text = ReadFile(PathOf(cgroup, "cpu.max"), kFileSizeMax); text.ok()) {
    std::vector<absl::string_view> words = absl::StrSplit(absl::StripAsciiWhitespace(*text), ' ', absl::SkipEmpty());
    int64_t quota = 0;
    if (!words.empty() && absl::SimpleAtoi(words[0], &quota)) now.cpu_quota = quota;
    uint64_t period = 0;
    if (words.size() > 1 && absl::SimpleAtoi(words[1], &period)) now.cpu_period = period;
  }
  if (auto text = ReadFile(PathOf(cgroup, "memory.max"), kFileSizeMax); text.ok()) {
    uint64_t limit = 0;
    if (absl::SimpleAtoi(absl::StripAsciiWhitespace(*text), &limit)) now.memory_limit = limit;
  }
  return now;
}

absl::StatusOr<Values> CgroupValues(const Resources& r, const CgroupNow& now) {
  Values out;
  AddCpu(r, now, out);
  RETURN_IF_ERROR(AddMemory(r, now, out));
  if (r.pids_limit.value_or(0) != 0) Add(out, "pids.max", LimitText(*r.pids_limit), "pids.limit");
  AddHugepages(r, now, out);
  RETURN_IF_ERROR(AddBlockIo(r, now, out));
  RETURN_IF_ERROR(AddUnified(r, out));
  return out;
}

absl::Status SetLimits(const std::string& cgroup, const Resources& resources) {
  ASSIGN_OR_RETURN(Values values, CgroupValues(resources, ReadCgroupNow(cgroup)));
  for (const CgroupValue& value : values) {
    if (Exists(cgroup, value.file)) {
      RETURN_IF_ERROR(WriteValue(cgroup, value));
    } else if (!value.may_lack_at_create) {
      return Lacking(value);
    }
  }
  return absl::OkStatus();
}

absl::Status UpdateLimits(const std::string& cgroup, const Resources& resources) {
  ASSIGN_OR_RETURN(Values values, CgroupValues(resources, ReadCgroupNow(cgroup)));
  std::erase_if(values,
                [&](const CgroupValue& value) { return value.may_lack_at_update && !Exists(cgroup, value.file); });
  Values undo;
  for (const CgroupValue& value : values) {
    auto before = ReadFile(PathOf(cgroup, value.file), kFileSizeMax);
    if (absl::IsNotFound(before.status())) return Lacking(value);
    if (!before.ok()) return absl::InternalError(absl::StrCat(value.limit, ": ", before.status().message()));
    undo.push_back(value);
    undo.back().value = UndoText(value, *before);
  }
  RETURN_IF_ERROR(CheckMemoryUsage(cgroup, resources));
  for (size_t i = 0; i < values.size(); ++i) {
    absl::Status status = WriteValue(cgroup, values[i]);
    if (status.ok()) continue;
    // The last one first: the order of writing has the constraints of the kernel.
    while (i-- > 0) {
      absl::Status undone = WriteValue(cgroup, undo[i]);
      if (!undone.ok()) log::Warn("undoing: {}", std::string(undone.message()));
    }
    return status;
  }
  return absl::OkStatus();
}

}  // namespace kata::agent
