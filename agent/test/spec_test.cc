// SPDX-License-Identifier: Apache-2.0
#include "agent/oci/spec.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <gtest/gtest.h>

namespace kata::agent {
namespace {

constexpr char kMinimal[] = R"({"process":{"args":["/bin/true"],"cwd":"/"},"root":{"path":"/rootfs"}})";

std::string WithLinux(const std::string& linux_json) {
  return R"({"process":{"args":["a"],"cwd":"/"},"root":{"path":"/r"},"linux":)" + linux_json + "}";
}

TEST(ParseContainerSpec, TakesAMinimalDocument) {
  auto spec = ParseContainerSpec(kMinimal);

  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->root_path, "/rootfs");
  EXPECT_EQ(spec->process.umask, 022u);
  EXPECT_FALSE(spec->seccomp.has_value());
}

TEST(ParseContainerSpec, RefusesBrokenJsonAndWrongTypes) {
  EXPECT_TRUE(absl::IsInvalidArgument(ParseContainerSpec("{").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseContainerSpec("[]").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      ParseContainerSpec(R"({"process":{"args":"x","cwd":"/"},"root":{"path":"/r"}})").status()));
}

TEST(ParseContainerSpec, RefusesARelativeRoot) {
  auto spec = ParseContainerSpec(R"({"process":{"args":["a"],"cwd":"/"},"root":{"path":"rootfs"}})");

  EXPECT_TRUE(absl::IsInvalidArgument(spec.status()));
}

// The document's `linux` is refused with a message that has `part`.
void ExpectRefused(const std::string& linux_json, const std::string& part) {
  auto spec = ParseContainerSpec(WithLinux(linux_json));
  EXPECT_TRUE(absl::IsInvalidArgument(spec.status())) << linux_json << ": " << spec.status();
  EXPECT_NE(spec.status().message().find(part), std::string::npos) << spec.status();
}

void ExpectProcessRefused(const std::string& members, const std::string& part) {
  auto spec = ParseProcessSpec(R"({"args":["a"],"cwd":"/",)" + members + "}");
  EXPECT_TRUE(absl::IsInvalidArgument(spec.status())) << members << ": " << spec.status();
  EXPECT_NE(spec.status().message().find(part), std::string::npos) << spec.status();
}

TEST(ParseContainerSpec, ReadsAUserNamespace) {
  auto spec = ParseContainerSpec(
      WithLinux(R"({"namespaces":[{"type":"user"}],"uidMappings":[{"containerID":0,"hostID":100000,"size":65536}],)"
                R"("gidMappings":[{"containerID":0,"hostID":200000,"size":65536}]})"));

  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_TRUE(spec->namespaces.has_user);
  EXPECT_EQ(MapId(spec->uid_mappings, 1000), 101000u);
  EXPECT_EQ(MapId(spec->gid_mappings, 65535), 265535u);
  EXPECT_FALSE(MapId(spec->gid_mappings, 65536).has_value());
}

TEST(ParseContainerSpec, RefusesHalfAUserNamespace) {
  const std::string map = R"([{"containerID":0,"hostID":1,"size":9}])";
  ExpectRefused(R"({"namespaces":[{"type":"user"}]})", "linux.uidMappings");
  ExpectRefused(R"({"namespaces":[{"type":"user"}],"uidMappings":)" + map + "}", "linux.gidMappings");
  ExpectRefused(R"({"uidMappings":)" + map + R"(,"gidMappings":)" + map + "}", "no user namespace");
  ExpectRefused(R"({"namespaces":[{"type":"user"}],"gidMappings":)" + map +
                    R"(,"uidMappings":[{"containerID":1,"hostID":1,"size":9}]})",
                "linux.uidMappings: the container's id 0");
  ExpectRefused(R"({"namespaces":[{"type":"user"}],"gidMappings":)" + map +
                    R"(,"uidMappings":[{"containerID":0,"hostID":4294967295,"size":2}]})",
                "size 2");
}

TEST(ParseContainerSpec, RefusesNamespacesThatAreUnknownOrTwice) {
  ExpectRefused(R"({"namespaces":[{"type":"moon"}]})", "\"moon\"");
  ExpectRefused(R"({"namespaces":[{"type":"pid"},{"type":"pid"}]})", "pid is there twice");
}

TEST(ParseContainerSpec, ReadsTimeOffsetsAndPersonality) {
  auto spec =
      ParseContainerSpec(WithLinux(R"({"namespaces":[{"type":"time"}],"personality":{"domain":"LINUX32"},)"
                                   R"("timeOffsets":{"monotonic":{"secs":-5,"nanosecs":7},"boottime":{"secs":9}}})"));

  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->time_offsets["monotonic"].secs, -5);
  EXPECT_EQ(spec->time_offsets["monotonic"].nanosecs, 7u);
  EXPECT_EQ(spec->time_offsets["boottime"].secs, 9);
  EXPECT_EQ(spec->personality, 8u);
  ExpectRefused(R"({"timeOffsets":{"boottime":{"secs":9}}})", "linux.timeOffsets");
  ExpectRefused(R"({"namespaces":[{"type":"time"}],"timeOffsets":{"realtime":{"secs":9}}})", "\"realtime\"");
  ExpectRefused(R"({"personality":{"domain":"BSD"}})", "\"BSD\"");
}

TEST(ParseContainerSpec, RefusesUnknownPropagationsAndSeccompFlags) {
  ExpectRefused(R"({"rootfsPropagation":"sideways"})", "linux.rootfsPropagation \"sideways\"");
  ExpectRefused(R"({"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}})",
                "linux.seccomp.flags \"SECCOMP_FILTER_FLAG_NEW_LISTENER\"");
  EXPECT_TRUE(ParseContainerSpec(WithLinux(R"({"rootfsPropagation":"rslave","seccomp":{"defaultAction":)"
                                           R"("SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_TSYNC"]}})"))
                  .ok());
}

TEST(ParseProcessSpec, RefusesAnEnvironmentThatIsNoneAsRuncDoes) {
  ExpectProcessRefused(R"("env":["A=1","=v"])", "process.env \"=v\"");
  ExpectProcessRefused(R"("env":["WORD"])", "process.env \"WORD\"");
  ExpectProcessRefused(R"("env":["A=b\u0000c"])", "process.env");
  EXPECT_TRUE(ParseProcessSpec(R"({"args":["a"],"cwd":"/","env":["A=","B==x"]})").ok());
}

TEST(ParseProcessSpec, ReadsScheduling) {
  auto spec =
      ParseProcessSpec(R"({"args":["a"],"cwd":"/","scheduler":{"policy":"SCHED_FIFO","priority":10,)"
                       R"("flags":["SCHED_FLAG_RESET_ON_FORK"]},"ioPriority":{"class":"IOPRIO_CLASS_BE","priority":7},)"
                       R"("execCPUAffinity":{"initial":"0-3","final":"1"}})");

  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->scheduler->policy, 1u);
  EXPECT_EQ(spec->scheduler->priority, 10u);
  EXPECT_EQ(spec->scheduler->flags, 1u);
  EXPECT_EQ(spec->io_priority->io_class, 2);
  EXPECT_EQ(spec->io_priority->priority, 7);
  EXPECT_EQ(spec->affinity_initial, "0-3");
  EXPECT_EQ(spec->affinity_final, "1");
  ExpectProcessRefused(R"("scheduler":{"policy":"SCHED_LAZY"})", "\"SCHED_LAZY\"");
  ExpectProcessRefused(R"("scheduler":{"policy":"SCHED_OTHER","priority":1})", "scheduler.priority 1");
  ExpectProcessRefused(R"("scheduler":{"policy":"SCHED_OTHER","nice":20})", "scheduler.nice 20");
  ExpectProcessRefused(R"("scheduler":{"policy":"SCHED_OTHER","period":1})", "SCHED_DEADLINE");
  ExpectProcessRefused(R"("ioPriority":{"class":"IOPRIO_CLASS_BE","priority":8})", "ioPriority.priority 8");
  ExpectProcessRefused(R"("ioPriority":{"class":"x"})", "ioPriority.class \"x\"");
}

TEST(ParseContainerSpec, TellsJoinedNamespacesFromNewOnes) {
  auto spec = ParseContainerSpec(WithLinux(R"({"namespaces":[{"type":"pid"},{"type":"ipc","path":"/proc/9/ns/ipc"},)"
                                           R"({"type":"network","path":"/run/netns/a"}]})"));

  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_TRUE(spec->namespaces.has_pid);
  EXPECT_TRUE(spec->namespaces.pid_path.empty());
  EXPECT_FALSE(spec->namespaces.ipc_path.empty());
  EXPECT_FALSE(spec->namespaces.has_uts);
}

TEST(ParseContainerSpec, RefusesAPathOfAnyOtherNamespace) {
  auto spec = ParseContainerSpec(WithLinux(R"({"namespaces":[{"type":"mount","path":"/proc/9/ns/mnt"}]})"));

  EXPECT_TRUE(absl::IsInvalidArgument(spec.status()));
  EXPECT_NE(spec.status().message().find("/proc/9/ns/mnt"), std::string::npos) << spec.status();
}

TEST(CheckFirstNamespaces, TakesPinnedOnesAndRefusesThoseOfProcesses) {
  Namespaces names;
  names.uts_path = "/run/utsns/7c1f";
  EXPECT_TRUE(CheckFirstNamespaces(names).ok());

  names.pid_path = "/proc/9/ns/pid";
  absl::Status status = CheckFirstNamespaces(names);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_NE(status.message().find("pid at \"/proc/9/ns/pid\""), std::string::npos) << status;
}

TEST(ParseResources, ReadsEveryLimit) {
  auto parsed =
      ParseResources(R"({"cpu":{"shares":2,"quota":-1,"period":5,"burst":6,"idle":1,"cpus":"0-1","mems":"0"},)"
                     R"("memory":{"limit":7,"reservation":8,"swap":9,"checkBeforeUpdate":true},)"
                     R"("pids":{"limit":10},"hugepageLimits":[{"pageSize":"2MB","limit":11}],)"
                     R"("blockIO":{"weight":12,"weightDevice":[{"major":8,"minor":16,"weight":13}],)"
                     R"("throttleReadBpsDevice":[{"major":8,"minor":0,"rate":14}],)"
                     R"("throttleWriteIOPSDevice":[{"major":8,"minor":1,"rate":15}]},)"
                     R"("unified":{"memory.high":"16"},"rdma":{},"network":null})");

  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->cpu_quota, -1);
  EXPECT_EQ(parsed->cpu_burst, 6u);
  EXPECT_EQ(parsed->cpu_idle, 1);
  EXPECT_EQ(parsed->cpuset_cpus, "0-1");
  EXPECT_EQ(parsed->memory_swap, 9);
  EXPECT_TRUE(parsed->memory_check_before_update);
  EXPECT_EQ(parsed->hugepage_limits[0].page_size, "2MB");
  EXPECT_EQ(parsed->hugepage_limits[0].limit, 11u);
  EXPECT_EQ(parsed->block_weight, 12u);
  EXPECT_EQ(parsed->block_weights[0].device, "8:16");
  ASSERT_EQ(parsed->block_throttles.size(), 2u);
  EXPECT_STREQ(parsed->block_throttles[0].key, "rbps");
  EXPECT_EQ(parsed->block_throttles[1].device, "8:1");
  EXPECT_STREQ(parsed->block_throttles[1].key, "wiops");
  EXPECT_EQ(parsed->unified["memory.high"], "16");
}

TEST(ParseResources, TakesWhatEnginesSendForNothing) {
  auto parsed =
      ParseResources(R"({"cpu":{"shares":0},"memory":{},"pids":null,"blockIO":{"weight":0},"hugepageLimits":[]})");

  ASSERT_TRUE(parsed.ok()) << parsed.status();
}

TEST(ParseResources, RefusesAPageSizeThatIsAPath) {
  EXPECT_TRUE(
      absl::IsInvalidArgument(ParseResources(R"({"hugepageLimits":[{"pageSize":"../2MB","limit":1}]})").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseResources("[]").status()));
}

TEST(ParseContainerSpec, ReadsDevices) {
  auto spec = ParseContainerSpec(
      WithLinux(R"({"devices":[{"path":"/dev/fuse","type":"c","major":10,"minor":229,"fileMode":438}]})"));

  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->devices[0].type, static_cast<mode_t>(S_IFCHR));
  EXPECT_EQ(spec->devices[0].minor, 229u);
  EXPECT_EQ(spec->devices[0].mode, 0666u);
}

TEST(ParseProcessSpec, ReadsUserAndLimits) {
  auto spec = ParseProcessSpec(R"({"args":["id"],"cwd":"/","user":{"uid":7,"gid":8,"additionalGids":[9],"umask":63},)"
                               R"("rlimits":[{"type":"RLIMIT_NOFILE","hard":2048,"soft":1024}],"oomScoreAdj":-5})");

  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->uid, 7u);
  EXPECT_EQ(spec->additional_gids, std::vector<gid_t>{9});
  EXPECT_EQ(spec->umask, 077u);
  EXPECT_EQ(spec->rlimits[0].resource, static_cast<int>(RLIMIT_NOFILE));
  EXPECT_EQ(spec->rlimits[0].soft, 1024u);
  EXPECT_EQ(spec->oom_score_adj, -5);
  EXPECT_FALSE(spec->capabilities.has_value());
}

TEST(ParseProcessSpec, RefusesUnknownLimitsAndEmptyArguments) {
  EXPECT_FALSE(ParseProcessSpec(R"({"args":["a"],"cwd":"/","rlimits":[{"type":"RLIMIT_X"}]})").ok());
  EXPECT_FALSE(ParseProcessSpec(R"({"args":[],"cwd":"/"})").ok());
  EXPECT_FALSE(ParseProcessSpec(R"({"args":["a"],"cwd":"here"})").ok());
}

}  // namespace
}  // namespace kata::agent
