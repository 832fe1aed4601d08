// SPDX-License-Identifier: Apache-2.0
#include "proto/base/bpf.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include <absl/strings/str_cat.h>

#include "proto/base/status.h"

namespace kata {
namespace {

// The kernel stops checking a program (EAGAIN) for a signal that comes meanwhile: a child of the agent that ends.
constexpr int kLoadTriesMax = 20;

long Bpf(int command, bpf_attr* attr) { return ::syscall(SYS_bpf, command, attr, sizeof(*attr)); }

absl::StatusOr<UniqueFd> Load(bpf_prog_type type, bpf_attach_type place, const std::vector<bpf_insn>& program,
                              absl::string_view what) {
  static constexpr char kLicense[] = "Apache-2.0";
  bpf_attr load{};
  load.prog_type = type;
  load.expected_attach_type = place;
  load.insns = reinterpret_cast<uintptr_t>(program.data());
  load.insn_cnt = static_cast<__u32>(program.size());
  load.license = reinterpret_cast<uintptr_t>(kLicense);
  for (int tries = 1;; ++tries) {
    UniqueFd loaded(static_cast<int>(Bpf(BPF_PROG_LOAD, &load)));
    if (loaded.valid()) return loaded;
    if (errno != EAGAIN || tries == kLoadTriesMax)
      return ErrnoStatus(errno, absl::StrCat("loading the ", what, " program"));
  }
}

}  // namespace

bpf_insn Insn(int code, int dst, int src, int off, int32_t imm) {
  bpf_insn insn{};
  insn.code = static_cast<__u8>(code);
  insn.dst_reg = static_cast<__u8>(dst) & 0xf;
  insn.src_reg = static_cast<__u8>(src) & 0xf;
  insn.off = static_cast<__s16>(off);
  insn.imm = imm;
  return insn;
}

std::vector<bpf_insn> MapAddress(int dst, int fd) {
  return {Insn(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, fd), Insn(0, 0, 0, 0, 0)};
}

absl::Status AttachProgram(int cgroup_fd, bpf_prog_type type, bpf_attach_type place,
                           const std::vector<bpf_insn>& program, absl::string_view what) {
  ASSIGN_OR_RETURN(const UniqueFd loaded, Load(type, place, program, what));
  bpf_attr attach{};
  attach.target_fd = static_cast<__u32>(cgroup_fd);
  attach.attach_bpf_fd = static_cast<__u32>(loaded.get());
  attach.attach_type = place;
  attach.attach_flags = BPF_F_ALLOW_MULTI;
  if (Bpf(BPF_PROG_ATTACH, &attach) != 0) return ErrnoStatus(errno, absl::StrCat("attaching the ", what, " program"));
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> LinkProgram(int netns_fd, bpf_prog_type type, bpf_attach_type place,
                                     const std::vector<bpf_insn>& program, absl::string_view what) {
  ASSIGN_OR_RETURN(const UniqueFd loaded, Load(type, place, program, what));
  bpf_attr attach{};
  attach.link_create.prog_fd = static_cast<__u32>(loaded.get());
  attach.link_create.target_fd = static_cast<__u32>(netns_fd);
  attach.link_create.attach_type = place;
  UniqueFd link(static_cast<int>(Bpf(BPF_LINK_CREATE, &attach)));
  if (!link.valid()) return ErrnoStatus(errno, absl::StrCat("attaching the ", what, " program"));
  return link;
}

absl::StatusOr<UniqueFd> MakeSocketMap(uint32_t size, absl::string_view what) {
  bpf_attr create{};
  create.map_type = BPF_MAP_TYPE_SOCKMAP;
  create.key_size = sizeof(uint32_t);
  create.value_size = sizeof(uint64_t);
  create.max_entries = size;
  UniqueFd map(static_cast<int>(Bpf(BPF_MAP_CREATE, &create)));
  if (!map.valid()) return ErrnoStatus(errno, absl::StrCat("making a map for the ", what, " program"));
  return map;
}

absl::Status PutSocket(int map_fd, uint32_t place, int socket_fd, absl::string_view what) {
  const uint64_t value = static_cast<uint64_t>(socket_fd);
  bpf_attr update{};
  update.map_fd = static_cast<__u32>(map_fd);
  update.key = reinterpret_cast<uintptr_t>(&place);
  update.value = reinterpret_cast<uintptr_t>(&value);
  if (Bpf(BPF_MAP_UPDATE_ELEM, &update) != 0)
    return ErrnoStatus(errno, absl::StrCat("giving the ", what, " program a socket"));
  return absl::OkStatus();
}

}  // namespace kata
