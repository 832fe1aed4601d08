// SPDX-License-Identifier: Apache-2.0
#include "agent/oci/seccomp.h"

#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include <gtest/gtest.h>

namespace kata::agent {
namespace {

SeccompProfile AllowAllBut(SeccompRule rule) {
  SeccompProfile profile;
  profile.default_action = "SCMP_ACT_ALLOW";
  profile.rules.push_back(std::move(rule));
  return profile;
}

// The errno that `call` gives in a child under `profile`, 0 when it succeeds, -1 when the filter
// cannot be used.
int ErrnoUnder(const SeccompProfile& profile, long (*call)()) {
  pid_t pid = ::fork();
  if (pid == 0) {
    auto compiled = SeccompProgram::Compile(profile);
    if (!compiled.ok()) ::_exit(255);
    // As it comes from init to an exec.
    auto filter = SeccompProgram::FromBytes(compiled->Bytes());
    if (!filter.ok() || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !filter->Load().ok()) ::_exit(255);
    ::_exit(call() < 0 ? errno : 0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) == 255) return -1;
  return WEXITSTATUS(status);
}

TEST(SeccompAction, PutsTheErrnoIntoTheAction) {
  EXPECT_EQ(*SeccompAction("SCMP_ACT_ERRNO", 38u), SCMP_ACT_ERRNO(38));
  EXPECT_EQ(*SeccompAction("SCMP_ACT_ERRNO", std::nullopt), SCMP_ACT_ERRNO(EPERM));
  EXPECT_EQ(*SeccompAction("SCMP_ACT_ALLOW", std::nullopt), static_cast<uint32_t>(SCMP_ACT_ALLOW));
}

TEST(SeccompAction, RefusesWhatItCannotServe) {
  EXPECT_TRUE(absl::IsInvalidArgument(SeccompAction("SCMP_ACT_NOTIFY", std::nullopt).status()));
}

TEST(SeccompProgram, ARuleActsOnItsSystemCall) {
  SeccompProfile profile =
      AllowAllBut({.names = {"getpriority"}, .action = "SCMP_ACT_ERRNO", .errno_ret = 61u, .args = {}});

  EXPECT_EQ(ErrnoUnder(profile, [] { return ::syscall(SYS_getpriority, 0, 0); }), 61);
  EXPECT_EQ(ErrnoUnder(profile, [] { return ::syscall(SYS_getppid); }), 0);
}

TEST(SeccompProgram, SkipsUnknownNamesAndKeepsTheRest) {
  SeccompProfile profile =
      AllowAllBut({.names = {"no_such_call", "getpriority"}, .action = "SCMP_ACT_ERRNO", .errno_ret = 62u, .args = {}});

  EXPECT_EQ(ErrnoUnder(profile, [] { return ::syscall(SYS_getpriority, 0, 0); }), 62);
}

TEST(SeccompProgram, AnArgumentConditionLimitsTheRule) {
  SeccompRule rule{.names = {"personality"}, .action = "SCMP_ACT_ERRNO", .errno_ret = 63u, .args = {}};
  rule.args.push_back({.index = 0, .value = 0xffffffff, .value_two = 0, .op = "SCMP_CMP_EQ"});
  SeccompProfile profile = AllowAllBut(rule);

  EXPECT_EQ(ErrnoUnder(profile, [] { return ::syscall(SYS_personality, 0xffffffffUL); }), 63);
  EXPECT_EQ(ErrnoUnder(profile, [] { return ::syscall(SYS_personality, 0UL); }), 0);
}

TEST(SeccompProgram, SeveralConditionsOnOneArgumentAreAlternatives) {
  SeccompRule rule{.names = {"personality"}, .action = "SCMP_ACT_ERRNO", .errno_ret = 64u, .args = {}};
  rule.args.push_back({.index = 0, .value = 0xffffffff, .value_two = 0, .op = "SCMP_CMP_EQ"});
  rule.args.push_back({.index = 0, .value = 0, .value_two = 0, .op = "SCMP_CMP_EQ"});
  SeccompProfile profile = AllowAllBut(rule);

  EXPECT_EQ(ErrnoUnder(profile, [] { return ::syscall(SYS_personality, 0xffffffffUL); }), 64);
  EXPECT_EQ(ErrnoUnder(profile, [] { return ::syscall(SYS_personality, 0UL); }), 64);
}

TEST(SeccompProgram, RefusesAnArgumentIndexAboveFive) {
  SeccompRule rule{.names = {"read"}, .action = "SCMP_ACT_ERRNO", .errno_ret = {}, .args = {}};
  rule.args.push_back({.index = 6, .value = 0, .value_two = 0, .op = "SCMP_CMP_EQ"});

  EXPECT_FALSE(SeccompProgram::Compile(AllowAllBut(rule)).ok());
}

// exit_group is 231 on x86-64; nothing above it is named.
SeccompProfile AllowOnlyExit(const std::string& default_action) {
  SeccompProfile profile;
  profile.default_action = default_action;
  profile.architectures = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
  // A sanitizer's runtime asks for its stack before the process ends.
  profile.rules.push_back(
      {.names = {"exit_group", "sigaltstack"}, .action = "SCMP_ACT_ALLOW", .errno_ret = {}, .args = {}});
  return profile;
}

TEST(SeccompProgram, ACallNewerThanTheProfileIsNotImplemented) {
  const SeccompProfile profile = AllowOnlyExit("SCMP_ACT_ERRNO");

  EXPECT_EQ(ErrnoUnder(profile, [] { return ::syscall(452, -1, nullptr, 0, 0); }), ENOSYS);
  EXPECT_EQ(ErrnoUnder(profile, [] { return ::syscall(232); }), ENOSYS);
  EXPECT_EQ(ErrnoUnder(profile, [] { return ::syscall(100000); }), ENOSYS);
  EXPECT_EQ(ErrnoUnder(profile, [] { return ::syscall(SYS_getppid); }), EPERM);
}

TEST(SeccompProgram, SoItIsUnderAProfileThatKills) {
  EXPECT_EQ(ErrnoUnder(AllowOnlyExit("SCMP_ACT_KILL_PROCESS"), [] { return ::syscall(452); }), ENOSYS);
}

TEST(SeccompProgram, ANamedCallIsNotNewer) {
  SeccompProfile profile = AllowOnlyExit("SCMP_ACT_ERRNO");
  profile.default_errno_ret = 61u;
  profile.rules.push_back({.names = {"openat2"}, .action = "SCMP_ACT_ERRNO", .errno_ret = 62u, .args = {}});

  EXPECT_EQ(ErrnoUnder(profile, [] { return ::syscall(SYS_openat2); }), 62);
  EXPECT_EQ(ErrnoUnder(profile, [] { return ::syscall(SYS_openat2 - 1); }), 61);
  EXPECT_EQ(ErrnoUnder(profile, [] { return ::syscall(SYS_openat2 + 1); }), ENOSYS);
}

TEST(SeccompProgram, RefusesBytesThatAreNoProgram) {
  EXPECT_FALSE(SeccompProgram::FromBytes("").ok());
  EXPECT_FALSE(SeccompProgram::FromBytes(std::string(4 + 7, 'x')).ok());
  EXPECT_FALSE(SeccompProgram::FromBytes(std::string(4 + 8 * (kSeccompInstructionsMax + 1), 'x')).ok());
}

}  // namespace
}  // namespace kata::agent
