// SPDX-License-Identifier: Apache-2.0
// Where programs of containers ask 127.0.0.11:53, they ask a port of the agent's there, and see the answer come from
// 53. By BPF at their cgroup, not by rules of netfilter, which belong to them; and 53 stays free for their own servers.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <vector>

#include <absl/status/status.h>

namespace kata::agent {

inline constexpr uint32_t kResolverAddress = 0x7f00000b;  // 127.0.0.11, Docker's on its own networks
inline constexpr uint16_t kResolverPort = 53;

// For connect and sendmsg (`is_answer` false): from the port that is asked to `port`; for recvmsg: back.
std::vector<bpf_insn> EncodeRedirect(uint16_t port, bool is_answer);
// `cgroup` is a directory; blocks for the kernel only.
absl::Status RedirectResolver(const char* cgroup, uint16_t port);

}  // namespace kata::agent
