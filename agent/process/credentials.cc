// SPDX-License-Identifier: Apache-2.0
#include "agent/process/credentials.h"

#include <grp.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <set>
#include <type_traits>

#include "agent/base/errors.h"
#include "proto/base/fd.h"

namespace kata::agent {
namespace {

using CapSet = std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)>;

std::set<cap_value_t> Values(const std::vector<std::string>& names) {
  std::set<cap_value_t> out;
  for (const std::string& name : names) {
    cap_value_t value = 0;
    // A name that this kernel lacks cannot be given; engines list newer ones without harm.
    if (cap_from_name(name.c_str(), &value) == 0 && prctl(PR_CAPBSET_READ, value) >= 0) out.insert(value);
  }
  return out;
}

void Raise(cap_t caps, cap_flag_t flag, const std::set<cap_value_t>& values) {
  for (cap_value_t value : values) cap_set_flag(caps, flag, 1, &value, CAP_SET);
}

absl::Status SetEffective(const std::set<cap_value_t>* wanted) {
  CapSet caps(cap_get_proc(), cap_free);
  if (caps == nullptr) return SystemError(errno, "reading the capabilities");
  for (cap_value_t value = 0; prctl(PR_CAPBSET_READ, value) >= 0; ++value) {
    cap_flag_value_t permitted = CAP_CLEAR;
    cap_get_flag(caps.get(), value, CAP_PERMITTED, &permitted);
    const bool on = permitted == CAP_SET && (wanted == nullptr || wanted->count(value) != 0);
    cap_set_flag(caps.get(), CAP_EFFECTIVE, 1, &value, on ? CAP_SET : CAP_CLEAR);
  }
  if (cap_set_proc(caps.get()) != 0) return SystemError(errno, "setting the effective capabilities");
  return absl::OkStatus();
}

Capabilities Of(const ProcessSpec& spec) { return spec.capabilities.value_or(Capabilities{}); }

absl::Status Apply(const Capabilities& names) {
  CapSet caps(cap_init(), cap_free);
  if (caps == nullptr) return SystemError(errno, "making a capability set");
  Raise(caps.get(), CAP_PERMITTED, Values(names.permitted));
  Raise(caps.get(), CAP_EFFECTIVE, Values(names.effective));
  Raise(caps.get(), CAP_INHERITABLE, Values(names.inheritable));
  if (cap_set_proc(caps.get()) != 0) return SystemError(errno, "setting the capabilities");
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
    return SystemError(errno, "clearing the ambient capabilities");
  }
  for (cap_value_t value : Values(names.ambient)) {
    // One that is not permitted and inheritable cannot be ambient; other runtimes pass over it as
    // well.
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, value, 0, 0);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SetRlimits(pid_t pid, const ProcessSpec& spec) {
  for (const Rlimit& limit : spec.rlimits) {
    const rlimit value{.rlim_cur = limit.soft, .rlim_max = limit.hard};
    if (::prlimit(pid, static_cast<__rlimit_resource>(limit.resource), &value, nullptr) != 0)
      return SystemError(errno, absl::StrCat("setting rlimit ", limit.resource));
  }
  return absl::OkStatus();
}

absl::Status SetOomScore(pid_t pid, const ProcessSpec& spec) {
  // The agent's own would be inherited.
  const int score = spec.oom_score_adj.value_or(0);
  absl::Status status = WriteExisting(absl::StrCat("/proc/", pid, "/oom_score_adj"), absl::StrCat(score));
  if (!status.ok()) return absl::InternalError(absl::StrCat("setting oomScoreAdj: ", status.message()));
  return absl::OkStatus();
}

absl::Status DropToUser(const ProcessSpec& spec) {
  const Capabilities caps = Of(spec);
  const std::set<cap_value_t> bounding = Values(caps.bounding);
  for (cap_value_t value = 0; prctl(PR_CAPBSET_READ, value) >= 0; ++value) {
    if (bounding.count(value) == 0 && prctl(PR_CAPBSET_DROP, value) != 0) {
      return SystemError(errno, "dropping a bounding capability");
    }
  }
  if (prctl(PR_SET_KEEPCAPS, 1) != 0) return SystemError(errno, "keeping capabilities");
  if (::setgroups(spec.additional_gids.size(), spec.additional_gids.data()) != 0) {
    return SystemError(errno, "setting the additional groups");
  }
  if (::setresgid(spec.gid, spec.gid, spec.gid) != 0) return SystemError(errno, absl::StrCat("setting gid ", spec.gid));
  if (::setresuid(spec.uid, spec.uid, spec.uid) != 0) return SystemError(errno, absl::StrCat("setting uid ", spec.uid));
  ::umask(spec.umask & 0777);
  const std::set<cap_value_t> effective = Values(caps.effective);
  return SetEffective(&effective);
}

absl::Status RaisePermitted() { return SetEffective(nullptr); }

absl::Status ApplyCapabilities(const ProcessSpec& spec) { return Apply(Of(spec)); }

absl::Status ApplyCapabilitiesAndSysAdmin(const ProcessSpec& spec) {
  Capabilities names = Of(spec);
  names.permitted.push_back("CAP_SYS_ADMIN");
  names.effective.push_back("CAP_SYS_ADMIN");
  return Apply(names);
}

}  // namespace kata::agent
