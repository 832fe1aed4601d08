// SPDX-License-Identifier: Apache-2.0
// Small BPF programs, written instruction by instruction, and where the kernel runs them. `what` names the program in
// an error.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/strings/string_view.h>

#include "proto/base/fd.h"

namespace kata {

bpf_insn Insn(int code, int dst, int src, int off, int32_t imm);

// The two instructions that bring the address of map `fd` into `dst`.
std::vector<bpf_insn> MapAddress(int dst, int fd);

// Loads the program and attaches it to the cgroup directory `cgroup_fd`, beside others of its kind, for as long as the
// cgroup lives.
absl::Status AttachProgram(int cgroup_fd, bpf_prog_type type, bpf_attach_type place,
                           const std::vector<bpf_insn>& program, absl::string_view what);

// Loads the program and attaches it to the network namespace `netns_fd`, after those that are there, for as long as the
// descriptor that is returned is open.
absl::StatusOr<UniqueFd> LinkProgram(int netns_fd, bpf_prog_type type, bpf_attach_type place,
                                     const std::vector<bpf_insn>& program, absl::string_view what);

// A map of `size` places for sockets, and one put into it: it stays there until it is closed.
absl::StatusOr<UniqueFd> MakeSocketMap(uint32_t size, absl::string_view what);
absl::Status PutSocket(int map_fd, uint32_t place, int socket_fd, absl::string_view what);

}  // namespace kata
