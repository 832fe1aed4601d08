// SPDX-License-Identifier: Apache-2.0
#include "agent/oci/device_rules.h"

#include <gtest/gtest.h>

namespace kata::agent {
namespace {

constexpr uint32_t kAll = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE;

// Runs the few instructions that the encoder uses, as the kernel would. -1 for one it should not
// have made.
int Evaluate(const std::vector<bpf_insn>& program, const bpf_cgroup_dev_ctx& context) {
  uint64_t r[11] = {};
  for (size_t at = 0; at < program.size(); ++at) {
    const bpf_insn& insn = program[at];
    const uint64_t imm = static_cast<uint64_t>(static_cast<int64_t>(insn.imm));
    switch (insn.code) {
      case BPF_LDX | BPF_W | BPF_MEM: {
        uint32_t word = 0;
        __builtin_memcpy(&word, reinterpret_cast<const char*>(&context) + insn.off, 4);
        r[insn.dst_reg] = word;
        break;
      }
      case BPF_ALU | BPF_MOV | BPF_X:
        r[insn.dst_reg] = static_cast<uint32_t>(r[insn.src_reg]);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        r[insn.dst_reg] = static_cast<uint32_t>(r[insn.dst_reg] & imm);
        break;
      case BPF_ALU | BPF_RSH | BPF_K:
        r[insn.dst_reg] = static_cast<uint32_t>(r[insn.dst_reg]) >> imm;
        break;
      case BPF_ALU64 | BPF_MOV | BPF_K:
        r[insn.dst_reg] = imm;
        break;
      case BPF_JMP | BPF_JNE | BPF_K:
        at += r[insn.dst_reg] != imm ? static_cast<size_t>(insn.off) : 0;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += r[insn.dst_reg] == imm ? static_cast<size_t>(insn.off) : 0;
        break;
      case BPF_JMP | BPF_EXIT:
        return static_cast<int>(r[0]);
      default:
        return -1;
    }
  }
  return -1;
}

bpf_cgroup_dev_ctx Request(uint32_t type, uint32_t access, uint32_t major, uint32_t minor) {
  return {.access_type = (access << 16) | type, .major = major, .minor = minor};
}

TEST(EncodeDeviceProgram, DeniesWithoutARule) {
  EXPECT_EQ(Evaluate(EncodeDeviceProgram({}), Request(BPF_DEVCG_DEV_CHAR, BPF_DEVCG_ACC_READ, 1, 3)), 0);
}

TEST(EncodeDeviceProgram, DefaultsAllowNullAndMknodButNoDisk) {
  auto program = EncodeDeviceProgram(DefaultDeviceRules());

  EXPECT_EQ(Evaluate(program, Request(BPF_DEVCG_DEV_CHAR, kAll, 1, 3)), 1);
  EXPECT_EQ(Evaluate(program, Request(BPF_DEVCG_DEV_CHAR, BPF_DEVCG_ACC_READ, 136, 7)), 1);
  EXPECT_EQ(Evaluate(program, Request(BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_ACC_MKNOD, 8, 0)), 1);
  EXPECT_EQ(Evaluate(program, Request(BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_ACC_READ, 8, 0)), 0);
  EXPECT_EQ(Evaluate(program, Request(BPF_DEVCG_DEV_CHAR, BPF_DEVCG_ACC_READ, 1, 1)), 0);
}

TEST(EncodeDeviceProgram, TheLastMatchingRuleDecides) {
  std::vector<DeviceRule> rules = {
      {.allow = false, .type = 'a', .major = {}, .minor = {}, .access = kAll},
      {.allow = true, .type = 'b', .major = 8, .minor = {}, .access = kAll},
      {.allow = false, .type = 'b', .major = 8, .minor = 1, .access = BPF_DEVCG_ACC_WRITE}};
  auto program = EncodeDeviceProgram(rules);

  EXPECT_EQ(Evaluate(program, Request(BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_ACC_WRITE, 8, 0)), 1);
  EXPECT_EQ(Evaluate(program, Request(BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_ACC_WRITE, 8, 1)), 0);
  EXPECT_EQ(Evaluate(program, Request(BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_ACC_READ, 8, 1)), 1);
  EXPECT_EQ(Evaluate(program, Request(BPF_DEVCG_DEV_CHAR, BPF_DEVCG_ACC_READ, 8, 1)), 0);
}

TEST(EncodeDeviceProgram, AnAllowingRuleMustCoverAllThatIsAsked) {
  std::vector<DeviceRule> rules = {{.allow = true, .type = 'c', .major = 5, .minor = 5, .access = BPF_DEVCG_ACC_READ}};
  auto program = EncodeDeviceProgram(rules);

  EXPECT_EQ(Evaluate(program, Request(BPF_DEVCG_DEV_CHAR, BPF_DEVCG_ACC_READ, 5, 5)), 1);
  EXPECT_EQ(Evaluate(program, Request(BPF_DEVCG_DEV_CHAR, BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE, 5, 5)), 0);
}

TEST(EncodeDeviceProgram, EndsAfterARuleForEverything) {
  std::vector<DeviceRule> rules = {{.allow = true, .type = 'c', .major = 5, .minor = 5, .access = kAll},
                                   {.allow = true, .type = 'a', .major = {}, .minor = {}, .access = kAll}};

  // Four loads, two bit operations, then "return 1": the kernel refuses instructions that cannot be
  // reached.
  EXPECT_EQ(EncodeDeviceProgram(rules).size(), 8u);
}

}  // namespace
}  // namespace kata::agent
