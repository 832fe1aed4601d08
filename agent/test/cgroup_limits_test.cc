// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup/limits.h"

#include <unistd.h>

#include <gtest/gtest.h>

#include "agent/test/control_files.h"

namespace kata::agent {
namespace {

std::string ValueOf(const Resources& resources, const std::string& file, CgroupNow now = {}) {
  auto values = CgroupValues(resources, now);
  if (!values.ok()) return values.status().ToString();
  for (const CgroupValue& value : *values) {
    if (value.file == file) return value.value;
  }
  return "unset";
}

std::vector<std::string> FilesOf(const Resources& resources, CgroupNow now = {}) {
  std::vector<std::string> out;
  auto values = CgroupValues(resources, now);
  if (!values.ok()) return {values.status().ToString()};
  for (const CgroupValue& value : *values) out.push_back(value.file);
  return out;
}

std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(CpuWeightOfShares, MapsTheRange) {
  EXPECT_EQ(CpuWeightOfShares(0), 0u);
  EXPECT_EQ(CpuWeightOfShares(2), 1u);
  EXPECT_EQ(CpuWeightOfShares(1024), 39u);
  EXPECT_EQ(CpuWeightOfShares(262144), 10000u);
  EXPECT_EQ(CpuWeightOfShares(1u << 30), 10000u);
}

TEST(IoWeightOfBlockWeight, MapsTheRange) {
  EXPECT_EQ(IoWeightOfBlockWeight(10), 1u);
  EXPECT_EQ(IoWeightOfBlockWeight(1000), 10000u);
}

TEST(CgroupValues, WritesNothingForNoLimits) { EXPECT_TRUE(FilesOf(Resources()).empty()); }

TEST(CgroupValues, TranslatesTheCpuQuota) {
  Resources resources;
  resources.cpu_quota = 50000;
  EXPECT_EQ(ValueOf(resources, "cpu.max"), "50000 100000");

  resources.cpu_quota = -1;
  resources.cpu_period = 20000;
  EXPECT_EQ(ValueOf(resources, "cpu.max"), "max 20000");
}

TEST(CgroupValues, KeepsTheHalfOfTheCpuQuotaThatIsNotNamed) {
  CgroupNow now;
  now.cpu_quota = 30000;
  now.cpu_period = 60000;
  Resources resources;
  resources.cpu_quota = 10000;
  EXPECT_EQ(ValueOf(resources, "cpu.max", now), "10000 60000");

  resources = Resources();
  resources.cpu_period = 50000;
  EXPECT_EQ(ValueOf(resources, "cpu.max", now), "30000 50000");
}

TEST(CgroupValues, OrdersBurstAndQuotaSoThatTheKernelTakesBoth) {
  CgroupNow now;
  now.cpu_quota = 20000;
  Resources resources;
  resources.cpu_quota = 50000;
  resources.cpu_burst = 40000;
  EXPECT_EQ(FilesOf(resources, now), (std::vector<std::string>{"cpu.max", "cpu.max.burst"}));

  resources.cpu_quota = 10000;
  resources.cpu_burst = 5000;
  EXPECT_EQ(FilesOf(resources, now), (std::vector<std::string>{"cpu.max.burst", "cpu.max"}));
}

TEST(CgroupValues, SetsTheWeightWhileTheGroupIsNotIdle) {
  Resources resources;
  resources.cpu_shares = 512;
  resources.cpu_idle = 1;
  EXPECT_EQ(FilesOf(resources), (std::vector<std::string>{"cpu.weight", "cpu.idle"}));

  resources.cpu_idle = 0;
  EXPECT_EQ(FilesOf(resources), (std::vector<std::string>{"cpu.idle", "cpu.weight"}));
}

TEST(CgroupValues, SwapIsWhatExceedsTheMemoryLimit) {
  Resources resources;
  resources.memory_limit = 100;
  resources.memory_swap = 250;

  EXPECT_EQ(ValueOf(resources, "memory.max"), "100");
  EXPECT_EQ(ValueOf(resources, "memory.swap.max"), "150");
}

TEST(CgroupValues, SwapAloneCountsFromTheLimitOfNow) {
  CgroupNow now;
  now.memory_limit = 100;
  Resources resources;
  resources.memory_swap = 180;

  EXPECT_EQ(ValueOf(resources, "memory.swap.max", now), "80");
  EXPECT_TRUE(absl::IsInvalidArgument(CgroupValues(resources, CgroupNow()).status()));
}

TEST(CgroupValues, RefusesSwapBelowTheLimit) {
  Resources resources;
  resources.memory_limit = 100;
  resources.memory_swap = 50;

  EXPECT_TRUE(absl::IsInvalidArgument(CgroupValues(resources, CgroupNow()).status()));
}

TEST(CgroupValues, UnlimitedIsMax) {
  Resources resources;
  resources.memory_limit = -1;
  resources.pids_limit = -1;

  EXPECT_EQ(ValueOf(resources, "memory.max"), "max");
  EXPECT_EQ(ValueOf(resources, "memory.swap.max"), "max");
  EXPECT_EQ(ValueOf(resources, "pids.max"), "max");
}

TEST(CgroupValues, PrefersTheWeightOfTheSchedulerThatIsThere) {
  Resources resources;
  resources.block_weight = 500;
  EXPECT_EQ(ValueOf(resources, "io.weight"), "default 4950");

  CgroupNow now;
  now.has_bfq_weight = true;
  EXPECT_EQ(ValueOf(resources, "io.bfq.weight", now), "default 500");
}

TEST(CgroupValues, RefusesABlockWeightOutOfRange) {
  Resources resources;
  resources.block_weight = 5;

  EXPECT_TRUE(absl::IsInvalidArgument(CgroupValues(resources, CgroupNow()).status()));
}

TEST(CgroupValues, AThrottleOfZeroTakesTheLimitAway) {
  Resources resources;
  resources.block_throttles.push_back(BlockThrottle{.device = "8:0", .key = "rbps", .rate = 4096});
  EXPECT_EQ(ValueOf(resources, "io.max"), "8:0 rbps=4096");

  resources.block_throttles[0].rate = 0;
  EXPECT_EQ(ValueOf(resources, "io.max"), "8:0 rbps=max");
}

TEST(CgroupValues, WritesAUnifiedValueLineByLine) {
  Resources resources;
  resources.unified["io.max"] = "8:0 rbps=1\n8:16 rbps=2\n";

  EXPECT_EQ(FilesOf(resources), (std::vector<std::string>{"io.max", "io.max"}));
  EXPECT_EQ(ValueOf(resources, "io.max"), "8:0 rbps=1");
}

TEST(CgroupValues, RefusesUnifiedKeysThatAreNoLimits) {
  for (const char* key : {"../memory.max", "memory", ".", "", "cgroup.procs", "cgroup.kill"}) {
    Resources resources;
    resources.unified[key] = "1";
    EXPECT_TRUE(absl::IsInvalidArgument(CgroupValues(resources, CgroupNow()).status())) << key;
  }
}

TEST(SetLimits, LetsAHugepageSizeAndABlockWeightBeMissing) {
  ControlFiles cgroup;
  cgroup.Write("pids.max", "");
  Resources resources;
  resources.hugepage_limits.push_back(HugepageLimit{.page_size = "1GB", .limit = 1u << 30});
  resources.block_weight = 100;
  resources.memory_swap = -1;
  resources.pids_limit = 7;

  EXPECT_TRUE(SetLimits(cgroup.path(), resources).ok());
  EXPECT_EQ(cgroup.Read("pids.max"), "7");
}

TEST(SetLimits, NamesALimitThatTheGuestDoesNotHave) {
  ControlFiles cgroup;
  Resources resources;
  resources.unified["memory.zswap.max"] = "0";

  absl::Status status = SetLimits(cgroup.path(), resources);

  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_TRUE(Contains(MessageOf(status), "memory.zswap.max")) << status;
}

TEST(SetLimits, SetsHugepagesAndTheirReservations) {
  ControlFiles cgroup;
  cgroup.Write("hugetlb.2MB.max", "");
  cgroup.Write("hugetlb.2MB.rsvd.max", "");
  Resources resources;
  resources.hugepage_limits.push_back(HugepageLimit{.page_size = "2MB", .limit = 4194304});

  EXPECT_TRUE(SetLimits(cgroup.path(), resources).ok());
  EXPECT_EQ(cgroup.Read("hugetlb.2MB.max"), "4194304");
  EXPECT_EQ(cgroup.Read("hugetlb.2MB.rsvd.max"), "4194304");
}

TEST(UpdateLimits, LeavesWhatIsNotNamed) {
  ControlFiles cgroup;
  cgroup.Write("pids.max", "100");
  cgroup.Write("cpu.weight", "100");
  cgroup.Write("memory.max", "max");
  Resources resources;
  resources.pids_limit = 200;

  EXPECT_TRUE(UpdateLimits(cgroup.path(), resources).ok());
  EXPECT_EQ(cgroup.Read("pids.max"), "200");
  EXPECT_EQ(cgroup.Read("cpu.weight"), "100");
  EXPECT_EQ(cgroup.Read("memory.max"), "max");
}

TEST(UpdateLimits, ChangesNothingWhenOneLimitIsNotThere) {
  ControlFiles cgroup;
  cgroup.Write("pids.max", "100");
  Resources resources;
  resources.pids_limit = 200;
  resources.hugepage_limits.push_back(HugepageLimit{.page_size = "2MB", .limit = 4194304});

  absl::Status status = UpdateLimits(cgroup.path(), resources);

  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_TRUE(Contains(MessageOf(status), "hugepageLimits 2MB")) << status;
  EXPECT_EQ(cgroup.Read("pids.max"), "100");
}

TEST(UpdateLimits, UndoesWhatWasWrittenBeforeAFailure) {
  ControlFiles cgroup;
  cgroup.Write("cpu.max", "100000 100000\n");
  cgroup.Write("memory.max", "9000\n");
  cgroup.Write("io.max", "8:16 rbps=1 wbps=max riops=max wiops=max\n");
  // A file of the kernel that can be read and refuses the value.
  ASSERT_EQ(::symlink("/proc/self/oom_score_adj", (cgroup.path() + "/memory.low").c_str()), 0);
  Resources resources;
  resources.cpu_quota = 200000;
  resources.memory_limit = 8000;
  resources.block_throttles.push_back(BlockThrottle{.device = "8:16", .key = "rbps", .rate = 7});
  resources.unified["memory.low"] = "99999";

  absl::Status status = UpdateLimits(cgroup.path(), resources);

  EXPECT_TRUE(absl::IsInternal(status));
  EXPECT_TRUE(Contains(MessageOf(status), "memory.low")) << status;
  EXPECT_EQ(cgroup.Read("cpu.max"), "100000 100000\n");
  EXPECT_EQ(cgroup.Read("memory.max"), "9000\n");
  EXPECT_EQ(cgroup.Read("io.max"), "8:16 rbps=1 wbps=max riops=max wiops=max\n");
}

TEST(UpdateLimits, UndoesADeviceThatHadNoLimit) {
  ControlFiles cgroup;
  cgroup.Write("io.max", "8:0 rbps=1 wbps=max riops=max wiops=max\n");
  ASSERT_EQ(::symlink("/proc/self/oom_score_adj", (cgroup.path() + "/memory.low").c_str()), 0);
  Resources resources;
  resources.block_throttles.push_back(BlockThrottle{.device = "8:16", .key = "rbps", .rate = 7});
  resources.unified["memory.low"] = "99999";

  EXPECT_FALSE(UpdateLimits(cgroup.path(), resources).ok());
  EXPECT_EQ(cgroup.Read("io.max").rfind("8:16 rbps=max wbps=max riops=max wiops=max", 0), 0u);
}

TEST(UpdateLimits, RefusesAMemoryLimitBelowWhatIsUsed) {
  ControlFiles cgroup;
  cgroup.Write("memory.max", "max");
  cgroup.Write("memory.current", "10000\n");
  cgroup.Write("memory.stat", "anon 6000\nactive_file 1000\ninactive_file 2500\n");
  Resources resources;
  resources.memory_limit = 6000;

  absl::Status status = UpdateLimits(cgroup.path(), resources);

  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_TRUE(Contains(MessageOf(status), "6000 < usage 10000")) << status;
  EXPECT_EQ(cgroup.Read("memory.max"), "max");
}

TEST(UpdateLimits, CountsPageCacheAsUsedOnlyWhenAsked) {
  ControlFiles cgroup;
  cgroup.Write("memory.max", "max");
  cgroup.Write("memory.current", "10000\n");
  cgroup.Write("memory.stat", "anon 6000\nactive_file 1000\ninactive_file 2500\n");
  Resources resources;
  resources.memory_limit = 7000;

  resources.memory_check_before_update = true;
  EXPECT_TRUE(absl::IsFailedPrecondition(UpdateLimits(cgroup.path(), resources)));

  resources.memory_check_before_update = false;
  EXPECT_TRUE(UpdateLimits(cgroup.path(), resources).ok());
  EXPECT_EQ(cgroup.Read("memory.max"), "7000");
}

TEST(CgroupValues, MapsProcessorsAndNodesOfTheHost) {
  CgroupNow now;
  now.cpus = {0, 1};
  now.mems = {0};
  Resources resources;
  resources.cpuset_cpus = "1";
  EXPECT_EQ(ValueOf(resources, "cpuset.cpus", now), "1");
  resources.cpuset_cpus = "6-7";
  EXPECT_EQ(ValueOf(resources, "cpuset.cpus", now), "0-1");
  resources.cpuset_cpus = "x";
  EXPECT_EQ(ValueOf(resources, "cpuset.cpus", now), "x") << "the kernel refuses it";
  resources.cpuset_mems = "0-1";
  EXPECT_EQ(ValueOf(resources, "cpuset.mems", now), "0");
  resources.cpuset_mems = "1";
  EXPECT_EQ(ValueOf(resources, "cpuset.mems", now), "unset");
}

TEST(SetLimits, PassesOverDevicesOfTheHost) {
  ControlFiles cgroup;
  Resources resources;
  resources.block_throttles.push_back(BlockThrottle{.device = "254:0", .key = "wbps", .rate = 7});
  absl::Status without_io = SetLimits(cgroup.path(), resources);
  EXPECT_TRUE(without_io.ok()) << without_io;
}

}  // namespace
}  // namespace kata::agent
