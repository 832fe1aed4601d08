// SPDX-License-Identifier: Apache-2.0
#include "agent/oci/device_rules.h"

#include <linux/bpf.h>

#include <cstddef>

#include "proto/base/bpf.h"

namespace kata::agent {
namespace {

constexpr uint32_t kAccessAll = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE;

// Register use: r2 device type, r3 requested access, r4 major, r5 minor, r1 scratch.
void AppendRule(const DeviceRule& rule, std::vector<bpf_insn>& program) {
  std::vector<bpf_insn> body;
  std::vector<size_t> misses;  // jumps to the instruction after this rule
  auto jump_unless_equal = [&](int reg, uint32_t value) {
    misses.push_back(body.size());
    body.push_back(Insn(BPF_JMP | BPF_JNE | BPF_K, reg, 0, 0, static_cast<int32_t>(value)));
  };
  if (rule.type != 'a') jump_unless_equal(2, rule.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
  if (rule.access != kAccessAll) {
    body.push_back(Insn(BPF_ALU | BPF_MOV | BPF_X, 1, 3, 0, 0));
    if (rule.allow) {
      // An allowing rule must cover all that is asked: any bit outside of it is a miss.
      body.push_back(Insn(BPF_ALU | BPF_AND | BPF_K, 1, 0, 0, static_cast<int32_t>(kAccessAll & ~rule.access)));
      jump_unless_equal(1, 0);
    } else {
      // A denying rule matches when any of its bits is asked for.
      body.push_back(Insn(BPF_ALU | BPF_AND | BPF_K, 1, 0, 0, static_cast<int32_t>(rule.access)));
      misses.push_back(body.size());
      body.push_back(Insn(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 0, 0));
    }
  }
  if (rule.major) jump_unless_equal(4, *rule.major);
  if (rule.minor) jump_unless_equal(5, *rule.minor);
  body.push_back(Insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, rule.allow ? 1 : 0));
  body.push_back(Insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  for (size_t at : misses) body[at].off = static_cast<__s16>(body.size() - at - 1);
  program.insert(program.end(), body.begin(), body.end());
}

DeviceRule Allow(char type, std::optional<uint32_t> major, std::optional<uint32_t> minor, uint32_t access) {
  return DeviceRule{.allow = true, .type = type, .major = major, .minor = minor, .access = access};
}

}  // namespace

std::vector<DeviceRule> DefaultDeviceRules() {
  std::vector<DeviceRule> rules;
  rules.push_back(Allow('c', std::nullopt, std::nullopt, BPF_DEVCG_ACC_MKNOD));
  rules.push_back(Allow('b', std::nullopt, std::nullopt, BPF_DEVCG_ACC_MKNOD));
  for (uint32_t minor : {3u, 5u, 7u, 8u, 9u}) rules.push_back(Allow('c', 1, minor, kAccessAll));
  for (uint32_t minor : {0u, 1u, 2u}) rules.push_back(Allow('c', 5, minor, kAccessAll));
  rules.push_back(Allow('c', 136, std::nullopt, kAccessAll));
  return rules;
}

std::vector<bpf_insn> EncodeDeviceProgram(const std::vector<DeviceRule>& rules) {
  std::vector<bpf_insn> program;
  auto load = [&](int reg, size_t offset) {
    program.push_back(Insn(BPF_LDX | BPF_W | BPF_MEM, reg, 1, static_cast<int>(offset), 0));
  };
  load(2, offsetof(bpf_cgroup_dev_ctx, access_type));
  program.push_back(Insn(BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 0xffff));
  load(3, offsetof(bpf_cgroup_dev_ctx, access_type));
  program.push_back(Insn(BPF_ALU | BPF_RSH | BPF_K, 3, 0, 0, 16));
  load(4, offsetof(bpf_cgroup_dev_ctx, major));
  load(5, offsetof(bpf_cgroup_dev_ctx, minor));
  for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule) {
    AppendRule(*rule, program);
    // What follows a rule for every device could never run, and the verifier refuses dead code.
    if (rule->type == 'a' && rule->access == kAccessAll && !rule->major && !rule->minor) return program;
  }
  program.push_back(Insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0));
  program.push_back(Insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  return program;
}

absl::Status AttachDeviceProgram(int cgroup_fd, const std::vector<bpf_insn>& program) {
  return AttachProgram(cgroup_fd, BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE, program, "device access");
}

}  // namespace kata::agent
