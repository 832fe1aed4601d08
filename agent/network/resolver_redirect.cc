// SPDX-License-Identifier: Apache-2.0
#include "agent/network/resolver_redirect.h"

#include <arpa/inet.h>
#include <fcntl.h>

#include <cerrno>
#include <cstddef>
#include <utility>

#include <absl/strings/str_cat.h>

#include "agent/base/errors.h"
#include "proto/base/bpf.h"
#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::agent {

std::vector<bpf_insn> EncodeRedirect(uint16_t port, bool is_answer) {
  const uint16_t from = is_answer ? port : kResolverPort;
  const uint16_t to = is_answer ? kResolverPort : port;
  // r1 is the context; addresses and ports in it are in network order.
  const auto load = [](size_t field) { return Insn(BPF_LDX | BPF_W | BPF_MEM, 2, 1, static_cast<int>(field), 0); };
  return {
      load(offsetof(bpf_sock_addr, user_ip4)),
      Insn(BPF_JMP32 | BPF_JNE | BPF_K, 2, 0, 4, static_cast<int32_t>(htonl(kResolverAddress))),
      load(offsetof(bpf_sock_addr, user_port)),
      Insn(BPF_JMP32 | BPF_JNE | BPF_K, 2, 0, 2, htons(from)),
      Insn(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, htons(to)),
      Insn(BPF_STX | BPF_W | BPF_MEM, 1, 2, offsetof(bpf_sock_addr, user_port), 0),
      Insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1),  // go on
      Insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
  };
}

absl::Status RedirectResolver(const char* cgroup, uint16_t port) {
  const UniqueFd directory(::open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return SystemError(errno, absl::StrCat("opening \"", cgroup, "\""));
  const std::pair<bpf_attach_type, bool> places[] = {{BPF_CGROUP_INET4_CONNECT, false},
                                                     {BPF_CGROUP_UDP4_SENDMSG, false},
                                                     {BPF_CGROUP_UDP4_RECVMSG, true},
                                                     {BPF_CGROUP_INET4_GETPEERNAME, true}};
  for (const auto& [place, is_answer] : places) {
    RETURN_IF_ERROR(AttachProgram(directory.get(), BPF_PROG_TYPE_CGROUP_SOCK_ADDR, place,
                                  EncodeRedirect(port, is_answer), "resolver"));
  }
  return absl::OkStatus();
}

}  // namespace kata::agent
