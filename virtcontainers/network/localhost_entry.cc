// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/network/localhost_entry.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <vector>

#include "proto/base/bpf.h"
#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

constexpr char kProgram[] = "localhost";
constexpr uint32_t kPlaceOfIpv4 = 0;
constexpr uint32_t kPlaceOfIpv6 = 1;
constexpr uint32_t kPlaces = 2;

absl::StatusOr<UniqueFd> Listen(int family) {
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "making a socket");
  sockaddr_in ipv4{};
  ipv4.sin_family = AF_INET;
  ipv4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_in6 ipv6{};
  ipv6.sin6_family = AF_INET6;
  ipv6.sin6_addr = in6addr_loopback;
  const bool is_ipv4 = family == AF_INET;
  const auto* address = is_ipv4 ? reinterpret_cast<sockaddr*>(&ipv4) : reinterpret_cast<sockaddr*>(&ipv6);
  if (::bind(fd.get(), address, is_ipv4 ? sizeof(ipv4) : sizeof(ipv6)) != 0 ||
      ::listen(fd.get(), kLocalhostBacklog) != 0) {
    return ErrnoStatus(errno, "listening on the loopback of the pod's network namespace");
  }
  return fd;
}

// Registers: r6 the context, r7 the socket found, r2 scratch. Addresses in the context are in network order.
class Program {
 public:
  explicit Program(int map) {
    Add(Insn(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_6, BPF_REG_1, 0, 0));
    PassUnless(offsetof(bpf_sk_lookup, protocol), IPPROTO_TCP);
    Load(offsetof(bpf_sk_lookup, family));
    const size_t to_ipv6 = Jump(BPF_JEQ, BPF_REG_2, AF_INET6);
    PassUnless(offsetof(bpf_sk_lookup, family), AF_INET);
    PassUnless(offsetof(bpf_sk_lookup, local_ip4), htonl(INADDR_LOOPBACK));
    Store(kPlaceOfIpv4);
    const size_t to_lookup = Jump(BPF_JA, 0, 0);
    Land(to_ipv6);
    for (size_t word = 0; word < 4; ++word) {
      PassUnless(offsetof(bpf_sk_lookup, local_ip6) + 4 * word, in6addr_loopback.s6_addr32[word]);
    }
    Store(kPlaceOfIpv6);
    Land(to_lookup);
    for (const bpf_insn& insn : MapAddress(BPF_REG_1, map)) Add(insn);
    Add(Insn(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_10, 0, 0));
    Add(Insn(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, kKeyOnStack));
    Call(BPF_FUNC_map_lookup_elem);
    PassIfNull(BPF_REG_0);
    Add(Insn(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_7, BPF_REG_0, 0, 0));
    Add(Insn(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_6, 0, 0));
    Add(Insn(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_7, 0, 0));
    Add(Insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, 0));
    Call(BPF_FUNC_sk_assign);
    Add(Insn(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_7, 0, 0));
    Call(BPF_FUNC_sk_release);
    for (size_t jump : passes_) Land(jump);
    Add(Insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, SK_PASS));
    Add(Insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  }
  const std::vector<bpf_insn>& insns() const { return insns_; }

 private:
  static constexpr int kKeyOnStack = -4;

  void Add(bpf_insn insn) { insns_.push_back(insn); }
  size_t Jump(int code, int reg, uint32_t value) {
    // JMP32 has no plain jump.
    const int kind = code == BPF_JA ? BPF_JMP : BPF_JMP32;
    Add(Insn(kind | code | BPF_K, reg, 0, 0, static_cast<int32_t>(value)));
    return insns_.size() - 1;
  }
  void Land(size_t jump) { insns_[jump].off = static_cast<__s16>(insns_.size() - jump - 1); }
  void Load(size_t field) { Add(Insn(BPF_LDX | BPF_W | BPF_MEM, BPF_REG_2, BPF_REG_6, static_cast<int>(field), 0)); }
  // Another's connection: the kernel looks on.
  void PassUnless(size_t field, uint32_t value) {
    Load(field);
    passes_.push_back(Jump(BPF_JNE, BPF_REG_2, value));
  }
  // Of a pointer the kernel wants all of it looked at.
  void PassIfNull(int reg) {
    passes_.push_back(insns_.size());
    Add(Insn(BPF_JMP | BPF_JEQ | BPF_K, reg, 0, 0, 0));
  }
  void Store(uint32_t key) {
    Add(Insn(BPF_ST | BPF_W | BPF_MEM, BPF_REG_10, 0, kKeyOnStack, static_cast<int32_t>(key)));
  }
  void Call(int function) { Add(Insn(BPF_JMP | BPF_CALL, 0, 0, 0, function)); }

  std::vector<bpf_insn> insns_;
  std::vector<size_t> passes_;
};

}  // namespace

absl::StatusOr<LocalhostEntry> OpenLocalhostEntry(const NetworkNamespace& place) {
  LocalhostEntry entry;
  RETURN_IF_ERROR(place.Run([&entry]() -> absl::Status {
    ASSIGN_OR_RETURN(entry.ipv4, Listen(AF_INET));
    auto ipv6 = Listen(AF_INET6);
    if (ipv6.ok()) entry.ipv6 = *std::move(ipv6);
    return absl::OkStatus();
  }));
  ASSIGN_OR_RETURN(const UniqueFd map, MakeSocketMap(kPlaces, kProgram));
  RETURN_IF_ERROR(PutSocket(map.get(), kPlaceOfIpv4, entry.ipv4.get(), kProgram));
  if (entry.ipv6.valid()) RETURN_IF_ERROR(PutSocket(map.get(), kPlaceOfIpv6, entry.ipv6.get(), kProgram));
  const Program program(map.get());
  ASSIGN_OR_RETURN(entry.program,
                   LinkProgram(place.fd(), BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP, program.insns(), kProgram));
  return entry;
}

}  // namespace kata::virtcontainers
