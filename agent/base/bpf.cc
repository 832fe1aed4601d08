// SPDX-License-Identifier: Apache-2.0
#include "agent/base/bpf.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include <absl/strings/str_cat.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::agent {
namespace {

long Bpf(int command, bpf_attr* attr) { return ::syscall(SYS_bpf, command, attr, sizeof(*attr)); }

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

absl::Status AttachProgram(int cgroup_fd, bpf_prog_type type, bpf_attach_type place,
                           const std::vector<bpf_insn>& program, absl::string_view what) {
  static constexpr char kLicense[] = "Apache-2.0";
  bpf_attr load{};
  load.prog_type = type;
  load.expected_attach_type = place;
  load.insns = reinterpret_cast<uintptr_t>(program.data());
  load.insn_cnt = static_cast<__u32>(program.size());
  load.license = reinterpret_cast<uintptr_t>(kLicense);
  UniqueFd loaded(static_cast<int>(Bpf(BPF_PROG_LOAD, &load)));
  if (!loaded.valid()) return ErrnoStatus(errno, absl::StrCat("loading the ", what, " program"));
  bpf_attr attach{};
  attach.target_fd = static_cast<__u32>(cgroup_fd);
  attach.attach_bpf_fd = static_cast<__u32>(loaded.get());
  attach.attach_type = place;
  attach.attach_flags = BPF_F_ALLOW_MULTI;
  if (Bpf(BPF_PROG_ATTACH, &attach) != 0) return ErrnoStatus(errno, absl::StrCat("attaching the ", what, " program"));
  return absl::OkStatus();
}

}  // namespace kata::agent
