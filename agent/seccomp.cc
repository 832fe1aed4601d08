// SPDX-License-Identifier: Apache-2.0
#include "agent/seccomp.h"

#include <seccomp.h>

#include <cctype>
#include <cerrno>
#include <map>
#include <set>
#include <utility>

#include "proto/base/status.h"

namespace kata::agent {
namespace {

absl::StatusOr<scmp_compare> Comparison(const std::string& name) {
  static const std::map<std::string, scmp_compare> kNames = {
      {"SCMP_CMP_NE", SCMP_CMP_NE},
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

absl::Status AddRule(scmp_filter_ctx context, uint32_t action, int call,
                     const std::vector<scmp_arg_cmp>& args, const std::string& name) {
  int error = seccomp_rule_add_array(context, action, call, static_cast<unsigned>(args.size()),
                                     args.data());
  if (error == 0 || error == -EEXIST) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("seccomp rule for \"", name, "\": error ", -error));
}

absl::Status AddRules(scmp_filter_ctx context, const SeccompRule& rule, uint32_t default_action) {
  ASSIGN_OR_RETURN(uint32_t action, SeccompAction(rule.action, rule.errno_ret));
  if (action == default_action) return absl::OkStatus();
  std::vector<scmp_arg_cmp> args;
  std::set<unsigned> indexes;
  for (const SeccompArg& arg : rule.args) {
    ASSIGN_OR_RETURN(scmp_compare op, Comparison(arg.op));
    if (arg.index > 5)
      return absl::InvalidArgumentError(absl::StrCat("seccomp argument ", arg.index, ": above 5"));
    args.push_back(
        scmp_arg_cmp{.arg = arg.index, .op = op, .datum_a = arg.value, .datum_b = arg.value_two});
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
    for (const scmp_arg_cmp& arg : args)
      RETURN_IF_ERROR(AddRule(context, action, call, {arg}, name));
  }
  return absl::OkStatus();
}

void AddArchitecture(scmp_filter_ctx context, const std::string& name) {
  static const std::string kPrefix = "SCMP_ARCH_";
  if (name.rfind(kPrefix, 0) != 0) return;
  std::string short_name = name.substr(kPrefix.size());
  for (char& c : short_name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  uint32_t arch = seccomp_arch_resolve_name(short_name.c_str());
  // An architecture of the other byte order cannot run here and is refused by libseccomp.
  if (arch != 0) seccomp_arch_add(context, arch);
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

absl::StatusOr<SeccompFilter> SeccompFilter::Build(const SeccompProfile& profile) {
  ASSIGN_OR_RETURN(uint32_t default_action,
                   SeccompAction(profile.default_action, profile.default_errno_ret));
  scmp_filter_ctx context = seccomp_init(default_action);
  if (context == nullptr) return absl::InternalError("making the seccomp filter: out of memory");
  SeccompFilter filter(context);
  for (const std::string& name : profile.architectures) AddArchitecture(context, name);
  // no_new_privs is the process's own setting; a tree of comparisons keeps long profiles cheap per
  // call.
  seccomp_attr_set(context, SCMP_FLTATR_CTL_NNP, 0);
  seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  for (const std::string& flag : profile.flags) {
    if (flag == "SECCOMP_FILTER_FLAG_LOG") seccomp_attr_set(context, SCMP_FLTATR_CTL_LOG, 1);
    if (flag == "SECCOMP_FILTER_FLAG_SPEC_ALLOW") seccomp_attr_set(context, SCMP_FLTATR_CTL_SSB, 1);
  }
  for (const SeccompRule& rule : profile.rules)
    RETURN_IF_ERROR(AddRules(context, rule, default_action));
  return filter;
}

SeccompFilter::SeccompFilter(SeccompFilter&& other) noexcept
    : context_(std::exchange(other.context_, nullptr)) {}

SeccompFilter::~SeccompFilter() {
  if (context_ != nullptr) seccomp_release(context_);
}

absl::Status SeccompFilter::Load() const {
  int error = seccomp_load(context_);
  if (error != 0) return ErrnoStatus(-error, "loading the seccomp filter");
  return absl::OkStatus();
}

}  // namespace kata::agent
