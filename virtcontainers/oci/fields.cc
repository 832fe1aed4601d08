// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/oci/fields.h"

#include <algorithm>
#include <map>
#include <set>

#include <absl/strings/escaping.h>
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <nlohmann/json.hpp>

#include "virtcontainers/json/members.h"

namespace kata::virtcontainers {
namespace {

using Json = nlohmann::json;

constexpr size_t kShownValueMax = 80;

bool IsDefaultPolicy(const Json& policy) { return policy.is_object() && TextOf(policy, "mode") == "MPOL_DEFAULT"; }

constexpr char kCgroup1[] = "the guest has cgroups of version 2, which have no such limit; leave it out";
constexpr char kOtherSystem[] = "for another operating system";
constexpr char kGuestLabels[] = "the guest's kernel has no such security module; the machine is the boundary";

std::vector<FieldRule> MakeRules() {
  using enum FieldVerdict;
  return {
      {"ociVersion", kNoEffect, "documents of all versions 1.x are read alike"},
      {"annotations.*", kDone,
       "those that say to which pod a container belongs, and `io.katacontainers.*`, which docs/configuration.md "
       "lists; "
       "others are for their writers"},
      {"hostname", kDone, "needs a uts namespace"},
      {"domainname", kDone, "needs a uts namespace"},
      {"root.path", kDone, ""},
      {"root.readonly", kDone, ""},
      {"mounts[].destination", kDone, ""},
      {"mounts[].type", kDone, ""},
      {"mounts[].source", kDone,
       "of a bind mount: the host's path; below /dev, /proc and /sys the guest's; a unix socket of the host if "
       "shared_sockets lists it"},
      {"mounts[].options", kDone, ""},
      {"mounts[].uidMappings", kDone, "of bind mounts; the host's kernel and file system must have idmapped mounts"},
      {"mounts[].gidMappings", kDone, "as uidMappings"},
      {"process.terminal", kDone, "what the caller of Create or Exec says counts"},
      {"process.consoleSize.height", kDone, ""},
      {"process.consoleSize.width", kDone, ""},
      {"process.user.uid", kDone, ""},
      {"process.user.gid", kDone, ""},
      {"process.user.umask", kDone, ""},
      {"process.user.additionalGids", kDone, ""},
      {"process.user.username", kNoEffect, kOtherSystem},
      {"process.args", kDone, ""},
      {"process.commandLine", kNoEffect, kOtherSystem},
      {"process.env", kDone, "each entry is NAME=VALUE; of a repeated name the last value counts"},
      {"process.cwd", kDone, ""},
      {"process.capabilities.bounding", kDone, ""},
      {"process.capabilities.effective", kDone, ""},
      {"process.capabilities.inheritable", kDone, ""},
      {"process.capabilities.permitted", kDone, ""},
      {"process.capabilities.ambient", kDone, ""},
      {"process.rlimits[].type", kDone, ""},
      {"process.rlimits[].hard", kDone, ""},
      {"process.rlimits[].soft", kDone, ""},
      {"process.noNewPrivileges", kDone, ""},
      {"process.apparmorProfile", kNoEffect, kGuestLabels},
      {"process.oomScoreAdj", kDone, "in the guest; on the host the machine has the highest of its containers"},
      {"process.scheduler.policy", kDone, ""},
      {"process.scheduler.nice", kDone, ""},
      {"process.scheduler.priority", kDone, ""},
      {"process.scheduler.flags", kDone, ""},
      {"process.scheduler.runtime", kDone, ""},
      {"process.scheduler.deadline", kDone, ""},
      {"process.scheduler.period", kDone, ""},
      {"process.selinuxLabel", kNoEffect, kGuestLabels},
      {"process.ioPriority.class", kDone, ""},
      {"process.ioPriority.priority", kDone, ""},
      {"process.execCPUAffinity.initial", kDone, "of an exec; as many processors of the guest stand for the host's"},
      {"process.execCPUAffinity.final", kDone, "as initial"},
      {"hooks.prestart[]", kDone, "on the host, once the guest has made the container"},
      {"hooks.createRuntime[]", kDone, "as prestart, after it"},
      {"hooks.createContainer[]", kDone,
       "as createRuntime, after it, in the pod's network namespace; the rootfs is not mounted on the host"},
      {"hooks.startContainer[]", kDone, "in the guest, as the container's init"},
      {"hooks.poststart[]", kDone, "on the host; one that fails ends the container"},
      {"hooks.poststop[]", kDone, "on the host, also after a kill of the shim"},
      {"linux.uidMappings[].containerID", kDone, "needs a user namespace; container id 0 must be mapped"},
      {"linux.uidMappings[].hostID", kDone, "files of the rootfs and of volumes keep the host's numbers in the guest"},
      {"linux.uidMappings[].size", kDone, ""},
      {"linux.gidMappings[].containerID", kDone, "as uidMappings"},
      {"linux.gidMappings[].hostID", kDone, ""},
      {"linux.gidMappings[].size", kDone, ""},
      {"linux.timeOffsets.*.secs", kDone, "of `monotonic` and `boottime`; needs a time namespace of its own"},
      {"linux.timeOffsets.*.nanosecs", kDone, ""},
      {"linux.sysctl.*", kDone, "in the guest"},
      {"linux.cgroupsPath", kDone,
       "of the pod's first container, on the host: the machine, virtiofsd and the shim are in it; the guest's are "
       "named by "
       "container"},
      {"linux.namespaces[].type", kDone, "network is the pod's"},
      {"linux.namespaces[].path", kDone,
       "the pod's first container's, or that of a container of the pod whose process the path names; refused where "
       "that cannot be known"},
      {"linux.devices[].path", kDone, ""},
      {"linux.devices[].type", kDone, ""},
      {"linux.devices[].major", kDone, "the guest's number"},
      {"linux.devices[].minor", kDone, "the guest's number"},
      {"linux.devices[].fileMode", kDone, ""},
      {"linux.devices[].uid", kDone, ""},
      {"linux.devices[].gid", kDone, ""},
      {"linux.netDevices.*", kRefused,
       "an interface of the host cannot move into the guest; put it into the pod's network namespace"},
      {"linux.seccomp.defaultAction", kDone, ""},
      {"linux.seccomp.defaultErrnoRet", kDone, ""},
      {"linux.seccomp.architectures", kDone, ""},
      {"linux.seccomp.flags", kDone, "LOG, SPEC_ALLOW, TSYNC; others are refused"},
      {"linux.seccomp.listenerPath", kRefused,
       "a listener on the host cannot serve a process of the guest; use a profile without SCMP_ACT_NOTIFY"},
      {"linux.seccomp.listenerMetadata", kNoEffect, "for a listener, which is refused"},
      {"linux.seccomp.syscalls[].names", kDone, ""},
      {"linux.seccomp.syscalls[].action", kDone, "all but SCMP_ACT_NOTIFY"},
      {"linux.seccomp.syscalls[].errnoRet", kDone, ""},
      {"linux.seccomp.syscalls[].args[].index", kDone, ""},
      {"linux.seccomp.syscalls[].args[].value", kDone, ""},
      {"linux.seccomp.syscalls[].args[].valueTwo", kDone, ""},
      {"linux.seccomp.syscalls[].args[].op", kDone, ""},
      {"linux.rootfsPropagation", kDone, "within the guest: a mount that is made there never reaches the host"},
      {"linux.maskedPaths", kDone, ""},
      {"linux.readonlyPaths", kDone, ""},
      {"linux.mountLabel", kNoEffect, kGuestLabels},
      {"linux.intelRdt", kRefused,
       "a guest has no resource director; give the machine's processes a class on the host"},
      {"linux.personality.domain", kDone, "LINUX and LINUX32"},
      {"linux.personality.flags", kRefused, "no flag is defined; leave it out"},
      {"linux.memoryPolicy", kRefused, "the guest has one memory node; leave it out or say MPOL_DEFAULT",
       IsDefaultPolicy},
      {"linux.resources.devices[].allow", kDone, ""},
      {"linux.resources.devices[].type", kDone, ""},
      {"linux.resources.devices[].major", kDone, ""},
      {"linux.resources.devices[].minor", kDone, ""},
      {"linux.resources.devices[].access", kDone, ""},
      {"linux.resources.memory.limit", kDone, ""},
      {"linux.resources.memory.reservation", kDone, ""},
      {"linux.resources.memory.swap", kDone, "the guest has no swap unless it is given some"},
      {"linux.resources.memory.kernel", kRefused, kCgroup1},
      {"linux.resources.memory.kernelTCP", kRefused, kCgroup1},
      {"linux.resources.memory.swappiness", kHint, kCgroup1},
      {"linux.resources.memory.disableOOMKiller", kRefused, kCgroup1},
      {"linux.resources.memory.useHierarchy", kNoEffect, "cgroups of version 2 always do"},
      {"linux.resources.memory.checkBeforeUpdate", kDone, ""},
      {"linux.resources.cpu.shares", kDone, ""},
      {"linux.resources.cpu.quota", kDone, ""},
      {"linux.resources.cpu.burst", kDone, ""},
      {"linux.resources.cpu.period", kDone, ""},
      {"linux.resources.cpu.realtimeRuntime", kRefused, kCgroup1},
      {"linux.resources.cpu.realtimePeriod", kRefused, kCgroup1},
      {"linux.resources.cpu.cpus", kDone,
       "the host's numbers mean as many processors of the guest: see limitations.md"},
      {"linux.resources.cpu.mems", kDone, "nodes that the guest does not have are left out"},
      {"linux.resources.cpu.idle", kDone, ""},
      {"linux.resources.pids.limit", kDone, ""},
      {"linux.resources.blockIO.weight", kDone, "where the guest's kernel has a proportional scheduler"},
      {"linux.resources.blockIO.leafWeight", kHint, kCgroup1},
      {"linux.resources.blockIO.weightDevice[].major", kDone, "devices that the guest does not have are passed over"},
      {"linux.resources.blockIO.weightDevice[].minor", kDone, ""},
      {"linux.resources.blockIO.weightDevice[].weight", kDone, ""},
      {"linux.resources.blockIO.weightDevice[].leafWeight", kHint, kCgroup1},
      {"linux.resources.blockIO.throttleReadBpsDevice", kDone, "devices that the guest does not have are passed over"},
      {"linux.resources.blockIO.throttleWriteBpsDevice", kDone, "as throttleReadBpsDevice"},
      {"linux.resources.blockIO.throttleReadIOPSDevice", kDone, "as throttleReadBpsDevice"},
      {"linux.resources.blockIO.throttleWriteIOPSDevice", kDone, "as throttleReadBpsDevice"},
      {"linux.resources.hugepageLimits[].pageSize", kDone, "of sizes that the guest has; others cannot be used there"},
      {"linux.resources.hugepageLimits[].limit", kDone, ""},
      {"linux.resources.network.classID", kRefused, kCgroup1},
      {"linux.resources.network.priorities", kRefused, kCgroup1},
      {"linux.resources.rdma.*", kRefused, "the guest has no RDMA devices; leave it out"},
      {"linux.resources.unified.*", kDone, "the guest's files; those that move or end processes are refused"},
      {"vm", kRefused, "the machine is described by configuration.toml; set kernel, initrd and path there"},
      {"solaris", kNoEffect, kOtherSystem},
      {"windows", kNoEffect, kOtherSystem},
      {"zos", kNoEffect, kOtherSystem},
      {"freebsd", kNoEffect, kOtherSystem},
  };
}

struct Index {
  std::map<std::string, const FieldRule*> rules;
  std::set<std::string> inner;  // paths with rules below
};

const Index& Rules() {
  static const Index* index = [] {
    auto* made = new Index;
    for (const FieldRule& rule : FieldRules()) {
      const std::string path = rule.path;
      made->rules[path] = &rule;
      for (size_t i = 0; i < path.size(); ++i) {
        if (path[i] == '.' || path[i] == '[') made->inner.insert(path.substr(0, i));
        if (path[i] == ']' && i + 1 < path.size()) made->inner.insert(path.substr(0, i + 1));
      }
    }
    return made;
  }();
  return *index;
}

bool IsKnown(const std::string& path) { return Rules().rules.contains(path) || Rules().inner.contains(path); }

// Engines write 0, -1, false or an empty list for "not set". Only a hint's 0 means something.
bool IsSet(const Json& value, FieldVerdict verdict) {
  if (value.is_number()) {
    return value.get<double>() > 0 || (verdict == FieldVerdict::kHint && value.get<double>() == 0);
  }
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_string()) return !value.get<std::string>().empty();
  return value.is_structured() && !value.empty();
}

class Walk {
 public:
  Walk(FieldsOf use, FieldReport& report) : use_(use), report_(report) {}

  // `pattern` is a path of the table, `shown` the same place for the user.
  absl::Status Visit(const Json& value, const std::string& pattern, const std::string& shown) {
    if (value.is_null()) return absl::OkStatus();
    if (auto rule = Rules().rules.find(pattern); rule != Rules().rules.end()) return Apply(*rule->second, value, shown);
    if (value.is_array() && IsKnown(pattern + "[]")) {
      for (size_t i = 0; i < value.size(); ++i) {
        absl::Status status = Visit(value[i], pattern + "[]", absl::StrCat(shown, "[", i, "]"));
        if (!status.ok()) return status;
      }
    }
    return value.is_object() ? VisitMembers(value, pattern, shown) : absl::OkStatus();
  }

 private:
  absl::Status VisitMembers(const Json& value, const std::string& pattern, const std::string& shown) {
    const char* dot = pattern.empty() ? "" : ".";
    for (const auto& [key, member] : value.items()) {
      const std::string name = absl::StrCat(shown, dot, absl::CHexEscape(key.substr(0, kShownValueMax)));
      std::string path = absl::StrCat(pattern, dot, key);
      if (!IsKnown(path)) path = absl::StrCat(pattern, dot, "*");
      if (!IsKnown(path)) {
        report_.unknown.push_back(name);
        continue;
      }
      absl::Status status = Visit(member, path, name);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status Apply(const FieldRule& rule, const Json& value, const std::string& shown) const {
    const bool is_refused =
        rule.verdict == FieldVerdict::kRefused || (rule.verdict == FieldVerdict::kHint && use_ == FieldsOf::kUpdate);
    if (!is_refused || !IsSet(value, rule.verdict)) return absl::OkStatus();
    if (rule.is_harmless != nullptr && rule.is_harmless(value)) return absl::OkStatus();
    std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (text.size() > kShownValueMax) text = text.substr(0, kShownValueMax) + "...";
    return absl::InvalidArgumentError(absl::StrCat(shown, ": ", text, ": ", rule.note));
  }

  FieldsOf use_;
  FieldReport& report_;
};

const char* Word(FieldVerdict verdict) {
  switch (verdict) {
    case FieldVerdict::kDone:
      return "done";
    case FieldVerdict::kRefused:
      return "refused";
    case FieldVerdict::kNoEffect:
      return "no effect";
    case FieldVerdict::kHint:
      return "no effect; refused in an update";
  }
  return "";
}

}  // namespace

const std::vector<FieldRule>& FieldRules() {
  static const auto* rules = new std::vector<FieldRule>(MakeRules());
  return *rules;
}

std::string FieldTable() {
  std::string out = "| field | what becomes of it | note |\n|---|---|---|\n";
  for (const FieldRule& rule : FieldRules())
    absl::StrAppend(&out, "| `", rule.path, "` | ", Word(rule.verdict), " | ", rule.note, " |\n");
  return out;
}

std::string FieldReport::Text() const {
  const size_t shown = std::min(unknown.size(), kUnknownFieldsShown);
  std::string out = absl::StrJoin(unknown.begin(), unknown.begin() + static_cast<long>(shown), ", ");
  if (shown < unknown.size()) absl::StrAppend(&out, " and ", unknown.size() - shown, " more");
  return out;
}

absl::Status CheckFields(const Json& json, const std::string& path, FieldsOf use, FieldReport& report) {
  return Walk(use, report).Visit(json, path, path);
}

}  // namespace kata::virtcontainers
