// SPDX-License-Identifier: Apache-2.0
#include "agent/oci/seccomp.h"

#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::agent {
namespace {

absl::StatusOr<scmp_compare> Comparison(const std::string& name) {
  static const std::map<std::string, scmp_compare> kNames = {{"SCMP_CMP_NE", SCMP_CMP_NE},
                                                             {"SCMP_CMP_LT", SCMP_CMP_LT},
                                                             {"SCMP_CMP_LE", SCMP_CMP_LE},
                                                             {"SCMP_CMP_EQ", SCMP_CMP_EQ},
                                                             {"SCMP_CMP_GE", SCMP_CMP_GE},
                                                             {"SCMP_CMP_GT", SCMP_CMP_GT},
                                                             {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
  auto found = kNames.find(name);
  if (found == kNames.end()) {
    return absl::InvalidArgumentError(absl::StrCat("seccomp operator \"", name, "\": not known"));
  }
  return found->second;
}

absl::Status AddRule(scmp_filter_ctx context, uint32_t action, int call, const std::vector<scmp_arg_cmp>& args,
                     const std::string& name) {
  int error = seccomp_rule_add_array(context, action, call, static_cast<unsigned>(args.size()), args.data());
  if (error == 0 || error == -EEXIST) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("seccomp rule for \"", name, "\": error ", -error));
}

absl::Status AddRules(scmp_filter_ctx context, const SeccompRule& rule, uint32_t default_action) {
  ASSIGN_OR_RETURN(uint32_t action, SeccompAction(rule.action, rule.errno_ret));
  if (action == default_action) return absl::OkStatus();
  std::vector<scmp_arg_cmp> args;
  std::set<unsigned> indexes;
  for (const SeccompArg& arg : rule.args) {
    ASSIGN_OR_RETURN(scmp_compare op, Comparison(arg.op));
    if (arg.index > 5) return absl::InvalidArgumentError(absl::StrCat("seccomp argument ", arg.index, ": above 5"));
    args.push_back(scmp_arg_cmp{.arg = arg.index, .op = op, .datum_a = arg.value, .datum_b = arg.value_two});
    indexes.insert(arg.index);
  }
  for (const std::string& name : rule.names) {
    int call = seccomp_syscall_resolve_name(name.c_str());
    if (call == __NR_SCMP_ERROR) continue;
    if (indexes.size() == args.size()) {
      RETURN_IF_ERROR(AddRule(context, action, call, args, name));
      continue;
    }
    // Several conditions on one argument are alternatives, which libseccomp wants as rules of their
    // own.
    for (const scmp_arg_cmp& arg : args) RETURN_IF_ERROR(AddRule(context, action, call, {arg}, name));
  }
  return absl::OkStatus();
}

std::optional<uint32_t> ArchitectureOf(const std::string& name) {
  static const std::string kPrefix = "SCMP_ARCH_";
  if (name.rfind(kPrefix, 0) != 0) return std::nullopt;
  std::string short_name = name.substr(kPrefix.size());
  for (char& c : short_name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const uint32_t arch = seccomp_arch_resolve_name(short_name.c_str());
  return arch == 0 ? std::nullopt : std::optional<uint32_t>(arch);
}

struct ContextDeleter {
  void operator()(void* context) const { seccomp_release(context); }
};
using Context = std::unique_ptr<void, ContextDeleter>;

absl::StatusOr<Context> MakeContext(const SeccompProfile& profile) {
  ASSIGN_OR_RETURN(uint32_t default_action, SeccompAction(profile.default_action, profile.default_errno_ret));
  Context context(seccomp_init(default_action));
  if (context == nullptr) return absl::InternalError("making the seccomp filter: out of memory");
  for (const std::string& name : profile.architectures) {
    // One of the other byte order cannot run here and is refused by libseccomp.
    if (auto arch = ArchitectureOf(name)) seccomp_arch_add(context.get(), *arch);
  }
  // A tree of comparisons keeps long profiles cheap per call.
  seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
  for (const SeccompRule& rule : profile.rules) RETURN_IF_ERROR(AddRules(context.get(), rule, default_action));
  return context;
}

bool HasPermissiveDefault(const SeccompProfile& profile) {
  const std::string& action = profile.default_action;
  return action == "SCMP_ACT_ALLOW" || action == "SCMP_ACT_LOG" || action == "SCMP_ACT_TRACE";
}

// The highest number of a call that the profile names; -1 when there is none.
int LastCall(const SeccompProfile& profile, uint32_t arch) {
  int last = -1;
  for (const SeccompRule& rule : profile.rules) {
    for (const std::string& name : rule.names)
      last = std::max(last, seccomp_syscall_resolve_name_arch(arch, name.c_str()));
  }
  return last;
}

// libseccomp cannot say "above", so it stands before what libseccomp makes.
void AddNewerCalls(uint32_t arch, int last, std::vector<sock_filter>& out) {
  // Numbers of x32, which has the architecture of x86-64, are not newer.
  constexpr uint32_t kX32Bit = 0x40000000;
  const bool may_be_x32 = arch == SCMP_ARCH_X86_64;
  out.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)));
  out.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 0, static_cast<uint8_t>(may_be_x32 ? 4 : 3)));
  out.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  if (may_be_x32) out.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kX32Bit, 2, 0));
  out.push_back(BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, static_cast<uint32_t>(last), 0, 1));
  out.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS));
}

std::vector<sock_filter> NewerCalls(const SeccompProfile& profile) {
  std::vector<sock_filter> out;
  if (HasPermissiveDefault(profile) || profile.default_errno_ret == unsigned{ENOSYS}) return out;
  std::set<uint32_t> architectures = {seccomp_arch_native()};
  for (const std::string& name : profile.architectures) {
    if (auto arch = ArchitectureOf(name)) architectures.insert(*arch);
  }
  architectures.erase(SCMP_ARCH_X32);
  for (uint32_t arch : architectures) {
    if (const int last = LastCall(profile, arch); last >= 0) AddNewerCalls(arch, last, out);
  }
  return out;
}

absl::Status AddInstructions(absl::string_view bytes, std::vector<sock_filter>& out) {
  const size_t count = bytes.size() / sizeof(sock_filter);
  if (bytes.size() % sizeof(sock_filter) != 0 || out.size() + count > kSeccompInstructionsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("seccomp filter: ", bytes.size(), " bytes are no program of the kernel's"));
  }
  const size_t before = out.size();
  out.resize(before + count);
  if (count != 0) std::memcpy(out.data() + before, bytes.data(), bytes.size());
  return absl::OkStatus();
}

absl::StatusOr<std::string> Export(const Context& context) {
  UniqueFd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, "making the seccomp filter");
  const int error = seccomp_export_bpf(context.get(), file.get());
  if (error != 0) return ErrnoStatus(-error, "compiling the seccomp filter");
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return ErrnoStatus(errno, "reading the seccomp filter");
  // More than the kernel takes is told apart later.
  return ReadAll(file.get(), 16 * kSeccompInstructionsMax * sizeof(sock_filter));
}

}  // namespace

absl::StatusOr<uint32_t> SeccompAction(const std::string& name, std::optional<unsigned> errno_ret) {
  const unsigned value = errno_ret.value_or(EPERM) & 0xffff;
  if (name == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(value);
  if (name == "SCMP_ACT_KILL" || name == "SCMP_ACT_KILL_THREAD") return SCMP_ACT_KILL_THREAD;
  if (name == "SCMP_ACT_KILL_PROCESS") return SCMP_ACT_KILL_PROCESS;
  if (name == "SCMP_ACT_TRAP") return SCMP_ACT_TRAP;
  if (name == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(value);
  if (name == "SCMP_ACT_LOG") return SCMP_ACT_LOG;
  return absl::InvalidArgumentError(absl::StrCat("seccomp action \"", name, "\": not supported"));
}

absl::StatusOr<SeccompProgram> SeccompProgram::Compile(const SeccompProfile& profile) {
  ASSIGN_OR_RETURN(Context context, MakeContext(profile));
  ASSIGN_OR_RETURN(const std::string exported, Export(context));
  SeccompProgram out;
  for (const std::string& flag : profile.flags) {
    if (flag == "SECCOMP_FILTER_FLAG_LOG") out.flags_ |= SECCOMP_FILTER_FLAG_LOG;
    if (flag == "SECCOMP_FILTER_FLAG_SPEC_ALLOW") out.flags_ |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  }
  out.instructions_ = NewerCalls(profile);
  RETURN_IF_ERROR(AddInstructions(exported, out.instructions_));
  return out;
}

absl::StatusOr<SeccompProgram> SeccompProgram::FromBytes(absl::string_view bytes) {
  SeccompProgram out;
  if (bytes.size() <= sizeof(out.flags_)) return absl::InvalidArgumentError("seccomp filter: no program");
  std::memcpy(&out.flags_, bytes.data(), sizeof(out.flags_));
  RETURN_IF_ERROR(AddInstructions(bytes.substr(sizeof(out.flags_)), out.instructions_));
  return out;
}

std::string SeccompProgram::Bytes() const {
  std::string out(sizeof(flags_) + instructions_.size() * sizeof(sock_filter), '\0');
  std::memcpy(out.data(), &flags_, sizeof(flags_));
  std::memcpy(out.data() + sizeof(flags_), instructions_.data(), out.size() - sizeof(flags_));
  return out;
}

absl::Status SeccompProgram::Load() const {
  const sock_fprog program{.len = static_cast<unsigned short>(instructions_.size()),
                           .filter = const_cast<sock_filter*>(instructions_.data())};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags_, &program) != 0)
    return ErrnoStatus(errno, "loading the seccomp filter");
  return absl::OkStatus();
}

}  // namespace kata::agent
