// SPDX-License-Identifier: Apache-2.0
// Device access rules of a container as a cgroup v2 BPF program (BPF_PROG_TYPE_CGROUP_DEVICE). The
// last rule that matches decides, as in cgroup v1; no match denies. Encoding is pure; attaching is
// a system call of the caller.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <optional>
#include <vector>

#include <absl/status/status.h>

namespace kata::agent {

// Rules of one container, the default devices included.
inline constexpr size_t kDeviceRulesMax = 512;

struct DeviceRule {
  bool allow = false;
  char type = 'a';                // 'a', 'b' or 'c'
  std::optional<uint32_t> major;  // unset = any
  std::optional<uint32_t> minor;
  uint32_t access = 0;  // BPF_DEVCG_ACC_* bits
};

// mknod of anything, and use of null, zero, full, random, urandom, tty, ptmx, pts and the console.
std::vector<DeviceRule> DefaultDeviceRules();
std::vector<bpf_insn> EncodeDeviceProgram(const std::vector<DeviceRule>& rules);
// Loads the program and attaches it to the cgroup directory `cgroup_fd`.
absl::Status AttachDeviceProgram(int cgroup_fd, const std::vector<bpf_insn>& program);

}  // namespace kata::agent
