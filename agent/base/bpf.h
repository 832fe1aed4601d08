// SPDX-License-Identifier: Apache-2.0
// Small BPF programs of cgroups, written instruction by instruction.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <vector>

#include <absl/status/status.h>
#include <absl/strings/string_view.h>

namespace kata::agent {

bpf_insn Insn(int code, int dst, int src, int off, int32_t imm);

// Loads the program and attaches it to the cgroup directory `cgroup_fd`, beside others of its kind, for as long as the
// cgroup lives. `what` names the program in an error.
absl::Status AttachProgram(int cgroup_fd, bpf_prog_type type, bpf_attach_type place,
                           const std::vector<bpf_insn>& program, absl::string_view what);

}  // namespace kata::agent
