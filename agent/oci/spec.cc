// SPDX-License-Identifier: Apache-2.0
#include "agent/oci/spec.h"

#include <linux/bpf.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>
#include <utility>

#include <absl/strings/escaping.h>
#include <nlohmann/json.hpp>

#include "proto/base/status.h"

namespace kata::agent {
namespace {

using Json = nlohmann::json;

constexpr size_t kShownMax = 80;

// The member, or a null value when it is absent: the spec treats both alike.
const Json& At(const Json& object, const char* key) {
  static const Json* kNull = new Json();
  if (!object.is_object()) return *kNull;
  auto found = object.find(key);
  return found == object.end() ? *kNull : *found;
}

template <typename T>
T Get(const Json& object, const char* key, T fallback) {
  const Json& value = At(object, key);
  return value.is_null() ? fallback : value.get<T>();
}

template <typename T>
std::optional<T> Maybe(const Json& object, const char* key) {
  const Json& value = At(object, key);
  if (value.is_null()) return std::nullopt;
  return value.get<T>();
}

std::vector<std::string> Strings(const Json& object, const char* key) {
  return Get(object, key, std::vector<std::string>{});
}

absl::Status ParseRlimits(const Json& list, std::vector<Rlimit>& out) {
  static const std::map<std::string, int> kNames = {{"RLIMIT_AS", RLIMIT_AS},
                                                    {"RLIMIT_CORE", RLIMIT_CORE},
                                                    {"RLIMIT_CPU", RLIMIT_CPU},
                                                    {"RLIMIT_DATA", RLIMIT_DATA},
                                                    {"RLIMIT_FSIZE", RLIMIT_FSIZE},
                                                    {"RLIMIT_LOCKS", RLIMIT_LOCKS},
                                                    {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
                                                    {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
                                                    {"RLIMIT_NICE", RLIMIT_NICE},
                                                    {"RLIMIT_NOFILE", RLIMIT_NOFILE},
                                                    {"RLIMIT_NPROC", RLIMIT_NPROC},
                                                    {"RLIMIT_RSS", RLIMIT_RSS},
                                                    {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
                                                    {"RLIMIT_RTTIME", RLIMIT_RTTIME},
                                                    {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
                                                    {"RLIMIT_STACK", RLIMIT_STACK}};
  for (const Json& item : list) {
    const std::string name = Get(item, "type", std::string());
    auto found = kNames.find(name);
    if (found == kNames.end()) {
      return absl::InvalidArgumentError(absl::StrCat("rlimit \"", name, "\": not known"));
    }
    out.push_back(Rlimit{
        .resource = found->second, .soft = Get<uint64_t>(item, "soft", 0), .hard = Get<uint64_t>(item, "hard", 0)});
  }
  return absl::OkStatus();
}

absl::Status ReadScheduling(const Json& json, ProcessSpec& out) {
  if (const Json& item = At(json, "scheduler"); !item.is_null()) {
    Scheduler scheduler;
    ASSIGN_OR_RETURN(scheduler.policy, SchedulerPolicy(Get(item, "policy", std::string())));
    for (const std::string& name : Strings(item, "flags")) {
      ASSIGN_OR_RETURN(uint64_t flag, SchedulerFlag(name));
      scheduler.flags |= flag;
    }
    scheduler.nice = Get<int32_t>(item, "nice", 0);
    scheduler.priority = Get<uint32_t>(item, "priority", 0);
    scheduler.runtime = Get<uint64_t>(item, "runtime", 0);
    scheduler.deadline = Get<uint64_t>(item, "deadline", 0);
    scheduler.period = Get<uint64_t>(item, "period", 0);
    RETURN_IF_ERROR(CheckScheduler(scheduler));
    out.scheduler = scheduler;
  }
  if (const Json& item = At(json, "ioPriority"); !item.is_null()) {
    IoPriority priority;
    ASSIGN_OR_RETURN(priority.io_class, IoPriorityClass(Get(item, "class", std::string())));
    priority.priority = Get(item, "priority", 0);
    if (priority.priority < 0 || priority.priority > 7) {
      return absl::InvalidArgumentError(
          absl::StrCat("process.ioPriority.priority ", priority.priority, ": not in 0 to 7"));
    }
    out.io_priority = priority;
  }
  const Json& affinity = At(json, "execCPUAffinity");
  out.affinity_initial = Get(affinity, "initial", std::string());
  out.affinity_final = Get(affinity, "final", std::string());
  return absl::OkStatus();
}

// As runc, which sets each of them.
absl::Status CheckEnvironment(const std::vector<std::string>& env) {
  for (const std::string& item : env) {
    const size_t end = item.find('=');
    if (end == std::string::npos || end == 0 || item.find('\0') != std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("process.env \"", absl::CHexEscape(item.substr(0, kShownMax)), "\": not NAME=VALUE"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ProcessSpec> ReadProcess(const Json& json) {
  if (!json.is_object()) return absl::InvalidArgumentError("process: missing");
  ProcessSpec out;
  out.terminal = Get(json, "terminal", false);
  const Json& size = At(json, "consoleSize");
  out.console_width = Get(size, "width", 0u);
  out.console_height = Get(size, "height", 0u);
  const Json& user = At(json, "user");
  out.uid = Get<uid_t>(user, "uid", 0);
  out.gid = Get<gid_t>(user, "gid", 0);
  out.additional_gids = Get(user, "additionalGids", std::vector<gid_t>{});
  out.umask = Get<mode_t>(user, "umask", 022);
  out.args = Strings(json, "args");
  out.env = Strings(json, "env");
  out.cwd = Get(json, "cwd", std::string("/"));
  out.no_new_privileges = Get(json, "noNewPrivileges", false);
  out.oom_score_adj = Maybe<int>(json, "oomScoreAdj");
  if (const Json& caps = At(json, "capabilities"); !caps.is_null()) {
    out.capabilities = Capabilities{.bounding = Strings(caps, "bounding"),
                                    .effective = Strings(caps, "effective"),
                                    .inheritable = Strings(caps, "inheritable"),
                                    .permitted = Strings(caps, "permitted"),
                                    .ambient = Strings(caps, "ambient")};
  }
  RETURN_IF_ERROR(ParseRlimits(At(json, "rlimits"), out.rlimits));
  RETURN_IF_ERROR(ReadScheduling(json, out));
  RETURN_IF_ERROR(CheckEnvironment(out.env));
  if (out.args.empty()) return absl::InvalidArgumentError("process.args: empty");
  // The words that engines look for.
  if (out.args[0].empty()) return absl::InvalidArgumentError("exec: \"\": executable file not found in $PATH");
  if (out.cwd.empty() || out.cwd[0] != '/') {
    return absl::InvalidArgumentError(absl::StrCat("process.cwd \"", out.cwd, "\": not absolute"));
  }
  return out;
}

absl::Status ReadNamespaces(const Json& list, Namespaces& out) {
  std::set<std::string> seen;
  for (const Json& item : list) {
    const std::string type = Get(item, "type", std::string());
    const std::string path = Get(item, "path", std::string());
    if (!seen.insert(type).second)
      return absl::InvalidArgumentError(absl::StrCat("linux.namespaces: ", type, " is there twice"));
    if (type == "pid") {
      out.has_pid = true;
      out.pid_path = path;
    } else if (type == "ipc") {
      out.has_ipc = true;
      out.ipc_path = path;
    } else if (type == "uts") {
      out.has_uts = true;
      out.uts_path = path;
    } else if (type == "user") {
      out.has_user = true;
      out.user_path = path;
    } else if (type == "time") {
      out.has_time = true;
      out.time_path = path;
    } else if (type != "network" && type != "mount" && type != "cgroup") {
      return absl::InvalidArgumentError(
          absl::StrCat("linux.namespaces: type \"", absl::CHexEscape(type.substr(0, kShownMax)), "\" is not known"));
    } else if (type != "network" && !path.empty()) {
      // The network's is the sandbox's, whatever its path on the host.
      return absl::InvalidArgumentError(
          absl::StrCat("linux.namespaces: ", type, " at \"", path, "\": it names nothing in the guest"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<IdMappings> ReadMappings(const Json& list, const char* field) {
  IdMappings out;
  for (const Json& item : list) {
    out.push_back(IdMapping{.container = Get<uint32_t>(item, "containerID", 0),
                            .host = Get<uint32_t>(item, "hostID", 0),
                            .size = Get<uint32_t>(item, "size", 0)});
  }
  if (!out.empty()) RETURN_IF_ERROR(CheckMappings(out, field));
  return out;
}

absl::Status ReadUserNamespace(const Json& json, ContainerSpec& out) {
  ASSIGN_OR_RETURN(out.uid_mappings, ReadMappings(At(json, "uidMappings"), "linux.uidMappings"));
  ASSIGN_OR_RETURN(out.gid_mappings, ReadMappings(At(json, "gidMappings"), "linux.gidMappings"));
  const Namespaces& names = out.namespaces;
  const bool has_any = !out.uid_mappings.empty() || !out.gid_mappings.empty();
  const bool has_both = !out.uid_mappings.empty() && !out.gid_mappings.empty();
  if (has_any && !names.has_user)
    return absl::InvalidArgumentError("linux.uidMappings, linux.gidMappings: linux.namespaces has no user namespace");
  if (names.has_user && names.user_path.empty() && !has_both)
    return absl::InvalidArgumentError(
        "linux.namespaces: a user namespace needs linux.uidMappings and linux.gidMappings");
  return absl::OkStatus();
}

absl::Status ReadTimeOffsets(const Json& json, ContainerSpec& out) {
  for (const auto& [clock, item] : json.items()) {
    if (clock != "monotonic" && clock != "boottime") {
      return absl::InvalidArgumentError(
          absl::StrCat("linux.timeOffsets: clock \"", absl::CHexEscape(clock.substr(0, kShownMax)), "\" is not known"));
    }
    out.time_offsets[clock] =
        TimeOffset{.secs = Get<int64_t>(item, "secs", 0), .nanosecs = Get<uint32_t>(item, "nanosecs", 0)};
  }
  if (!out.time_offsets.empty() && (!out.namespaces.has_time || !out.namespaces.time_path.empty()))
    return absl::InvalidArgumentError(
        "linux.timeOffsets: linux.namespaces has no time namespace of the container's own");
  return absl::OkStatus();
}

absl::Status ReadPersonality(const Json& json, ContainerSpec& out) {
  if (json.is_null()) return absl::OkStatus();
  const std::string domain = Get(json, "domain", std::string());
  if (domain == "LINUX") out.personality = PER_LINUX;
  if (domain == "LINUX32") out.personality = PER_LINUX32;
  if (out.personality) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("linux.personality.domain \"", absl::CHexEscape(domain.substr(0, kShownMax)), "\": not known"));
}

absl::Status CheckPropagation(const std::string& word) {
  static const std::set<std::string> kWords = {"",      "private", "rprivate",   "shared",     "rshared",
                                               "slave", "rslave",  "unbindable", "runbindable"};
  if (kWords.contains(word)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("linux.rootfsPropagation \"", absl::CHexEscape(word.substr(0, kShownMax)), "\": not known"));
}

absl::StatusOr<DeviceRule> ReadDeviceRule(const Json& item) {
  DeviceRule rule;
  rule.allow = Get(item, "allow", false);
  const std::string type = Get(item, "type", std::string("a"));
  rule.type = type.empty() ? 'a' : type[0];
  if (rule.type == 'u') rule.type = 'c';
  if (rule.type != 'a' && rule.type != 'b' && rule.type != 'c') {
    return absl::InvalidArgumentError(absl::StrCat("device rule type \"", type, "\": not known"));
  }
  const int64_t major = Get<int64_t>(item, "major", -1);
  const int64_t minor = Get<int64_t>(item, "minor", -1);
  if (major >= 0) rule.major = static_cast<uint32_t>(major);
  if (minor >= 0) rule.minor = static_cast<uint32_t>(minor);
  for (char c : Get(item, "access", std::string("rwm"))) {
    if (c == 'r') rule.access |= BPF_DEVCG_ACC_READ;
    if (c == 'w') rule.access |= BPF_DEVCG_ACC_WRITE;
    if (c == 'm') rule.access |= BPF_DEVCG_ACC_MKNOD;
  }
  return rule;
}

absl::Status ReadHugepageLimits(const Json& list, Resources& out) {
  for (const Json& item : list) {
    HugepageLimit limit{.page_size = Get(item, "pageSize", std::string()), .limit = Get<uint64_t>(item, "limit", 0)};
    // It becomes a part of a file name.
    const size_t digits = limit.page_size.find_first_not_of("0123456789");
    const std::string unit = digits == std::string::npos || digits == 0 ? "" : limit.page_size.substr(digits);
    if (unit != "KB" && unit != "MB" && unit != "GB") {
      return absl::InvalidArgumentError(
          absl::StrCat("linux.resources.hugepageLimits: page size \"", limit.page_size, "\": not known"));
    }
    out.hugepage_limits.push_back(std::move(limit));
  }
  return absl::OkStatus();
}

std::string DeviceOf(const Json& item) {
  return absl::StrCat(Get<int64_t>(item, "major", 0), ":", Get<int64_t>(item, "minor", 0));
}

void ReadBlockIo(const Json& json, Resources& out) {
  static constexpr std::pair<const char*, const char*> kThrottles[] = {{"throttleReadBpsDevice", "rbps"},
                                                                       {"throttleWriteBpsDevice", "wbps"},
                                                                       {"throttleReadIOPSDevice", "riops"},
                                                                       {"throttleWriteIOPSDevice", "wiops"}};
  out.block_weight = Maybe<uint64_t>(json, "weight");
  for (const Json& item : At(json, "weightDevice")) {
    out.block_weights.push_back(BlockWeight{.device = DeviceOf(item), .weight = Get<uint64_t>(item, "weight", 0)});
  }
  for (const auto& [name, key] : kThrottles) {
    for (const Json& item : At(json, name)) {
      out.block_throttles.push_back(
          BlockThrottle{.device = DeviceOf(item), .key = key, .rate = Get<uint64_t>(item, "rate", 0)});
    }
  }
}

absl::Status ReadResources(const Json& json, Resources& out) {
  const Json& cpu = At(json, "cpu");
  out.cpu_shares = Maybe<uint64_t>(cpu, "shares");
  out.cpu_quota = Maybe<int64_t>(cpu, "quota");
  out.cpu_period = Maybe<uint64_t>(cpu, "period");
  out.cpu_burst = Maybe<uint64_t>(cpu, "burst");
  out.cpu_idle = Maybe<int64_t>(cpu, "idle");
  out.cpuset_cpus = Get(cpu, "cpus", std::string());
  out.cpuset_mems = Get(cpu, "mems", std::string());
  const Json& memory = At(json, "memory");
  out.memory_limit = Maybe<int64_t>(memory, "limit");
  out.memory_swap = Maybe<int64_t>(memory, "swap");
  out.memory_reservation = Maybe<int64_t>(memory, "reservation");
  out.memory_check_before_update = Get(memory, "checkBeforeUpdate", false);
  out.pids_limit = Maybe<int64_t>(At(json, "pids"), "limit");
  out.unified = Get(json, "unified", std::map<std::string, std::string>{});
  RETURN_IF_ERROR(ReadHugepageLimits(At(json, "hugepageLimits"), out));
  ReadBlockIo(At(json, "blockIO"), out);
  if (std::max({out.unified.size(), out.hugepage_limits.size(), out.block_weights.size(), out.block_throttles.size()}) >
      kLimitsMax) {
    return absl::InvalidArgumentError(absl::StrCat("linux.resources: more than ", kLimitsMax, " limits of one kind"));
  }
  for (const Json& item : At(json, "devices")) {
    ASSIGN_OR_RETURN(DeviceRule rule, ReadDeviceRule(item));
    out.device_rules.push_back(rule);
  }
  if (out.device_rules.size() > kDeviceRulesMax) {
    return absl::InvalidArgumentError(absl::StrCat("linux.resources.devices: more than ", kDeviceRulesMax));
  }
  return absl::OkStatus();
}

absl::StatusOr<Device> ReadDevice(const Json& item) {
  Device device;
  device.path = Get(item, "path", std::string());
  const std::string type = Get(item, "type", std::string());
  if (type == "c" || type == "u") device.type = S_IFCHR;
  if (type == "b") device.type = S_IFBLK;
  if (type == "p") device.type = S_IFIFO;
  if (device.type == 0 || device.path.empty() || device.path[0] != '/') {
    return absl::InvalidArgumentError(absl::StrCat("device \"", device.path, "\": bad path or type \"", type, "\""));
  }
  device.major = Get(item, "major", 0u);
  device.minor = Get(item, "minor", 0u);
  device.mode = Get<mode_t>(item, "fileMode", 0666) & 07777;
  device.uid = Get<uid_t>(item, "uid", 0);
  device.gid = Get<gid_t>(item, "gid", 0);
  return device;
}

absl::StatusOr<SeccompProfile> ReadSeccomp(const Json& json) {
  SeccompProfile out;
  out.default_action = Get(json, "defaultAction", std::string());
  out.default_errno_ret = Maybe<unsigned>(json, "defaultErrnoRet");
  out.architectures = Strings(json, "architectures");
  out.flags = Strings(json, "flags");
  for (const std::string& flag : out.flags) {
    // One thread has nothing to synchronize.
    if (flag == "SECCOMP_FILTER_FLAG_LOG" || flag == "SECCOMP_FILTER_FLAG_SPEC_ALLOW" ||
        flag == "SECCOMP_FILTER_FLAG_TSYNC") {
      continue;
    }
    return absl::InvalidArgumentError(
        absl::StrCat("linux.seccomp.flags \"", absl::CHexEscape(flag.substr(0, kShownMax)), "\": not supported"));
  }
  size_t names = 0;
  for (const Json& item : At(json, "syscalls")) {
    SeccompRule rule;
    rule.names = Strings(item, "names");
    rule.action = Get(item, "action", std::string());
    rule.errno_ret = Maybe<unsigned>(item, "errnoRet");
    for (const Json& arg : At(item, "args")) {
      rule.args.push_back(SeccompArg{.index = Get(arg, "index", 0u),
                                     .value = Get<uint64_t>(arg, "value", 0),
                                     .value_two = Get<uint64_t>(arg, "valueTwo", 0),
                                     .op = Get(arg, "op", std::string())});
    }
    names += rule.names.size();
    out.rules.push_back(std::move(rule));
  }
  if (names > kSeccompNamesMax) {
    return absl::InvalidArgumentError(absl::StrCat("linux.seccomp: more than ", kSeccompNamesMax, " names"));
  }
  return out;
}

absl::Status ReadLinux(const Json& json, ContainerSpec& out) {
  RETURN_IF_ERROR(ReadNamespaces(At(json, "namespaces"), out.namespaces));
  RETURN_IF_ERROR(ReadResources(At(json, "resources"), out.resources));
  for (const Json& item : At(json, "devices")) {
    ASSIGN_OR_RETURN(Device device, ReadDevice(item));
    out.devices.push_back(std::move(device));
  }
  out.masked_paths = Strings(json, "maskedPaths");
  out.readonly_paths = Strings(json, "readonlyPaths");
  out.rootfs_propagation = Get(json, "rootfsPropagation", std::string());
  RETURN_IF_ERROR(CheckPropagation(out.rootfs_propagation));
  RETURN_IF_ERROR(ReadUserNamespace(json, out));
  RETURN_IF_ERROR(ReadTimeOffsets(At(json, "timeOffsets"), out));
  RETURN_IF_ERROR(ReadPersonality(At(json, "personality"), out));
  out.sysctls = Get(json, "sysctl", std::map<std::string, std::string>{});
  if (const Json& seccomp = At(json, "seccomp"); !seccomp.is_null()) {
    ASSIGN_OR_RETURN(SeccompProfile profile, ReadSeccomp(seccomp));
    out.seccomp = std::move(profile);
  }
  return absl::OkStatus();
}

absl::StatusOr<ContainerSpec> ReadContainer(const Json& json) {
  ContainerSpec out;
  ASSIGN_OR_RETURN(out.process, ReadProcess(At(json, "process")));
  out.root_path = Get(At(json, "root"), "path", std::string());
  out.root_is_readonly = Get(At(json, "root"), "readonly", false);
  out.hostname = Get(json, "hostname", std::string());
  out.domainname = Get(json, "domainname", std::string());
  if (out.root_path.empty() || out.root_path[0] != '/') {
    return absl::InvalidArgumentError(absl::StrCat("root.path \"", out.root_path, "\": not absolute"));
  }
  for (const Json& item : At(json, "mounts")) {
    Mount mount{.destination = Get(item, "destination", std::string()),
                .type = Get(item, "type", std::string()),
                .source = Get(item, "source", std::string()),
                .options = Strings(item, "options")};
    if (mount.destination.empty()) return absl::InvalidArgumentError("mounts: one has no destination");
    out.mounts.push_back(std::move(mount));
  }
  RETURN_IF_ERROR(ReadLinux(At(json, "linux"), out));
  ASSIGN_OR_RETURN(Hooks hooks, ReadHooks(At(json, "hooks")));
  out.start_hooks = std::move(hooks["startContainer"]);
  return out;
}

// The one place where the JSON library's exceptions are met.
template <typename T>
absl::StatusOr<T> Guarded(absl::string_view text, absl::StatusOr<T> (*read)(const Json&), const char* what) {
  if (text.size() > kSpecSizeMax) return absl::InvalidArgumentError(absl::StrCat("reading ", what, ": too large"));
  try {
    absl::StatusOr<T> result = read(Json::parse(text.begin(), text.end()));
    if (!result.ok()) return Annotate(result.status(), absl::StrCat("reading ", what));
    return result;
  } catch (const Json::exception& e) {
    return absl::InvalidArgumentError(absl::StrCat("reading ", what, ": ", e.what()));
  }
}

absl::StatusOr<Resources> ReadResourcesOnly(const Json& json) {
  if (!json.is_object()) return absl::InvalidArgumentError("it is not an object");
  Resources out;
  RETURN_IF_ERROR(ReadResources(json, out));
  return out;
}

}  // namespace

absl::StatusOr<ContainerSpec> ParseContainerSpec(absl::string_view json) {
  return Guarded<ContainerSpec>(json, ReadContainer, "the container spec");
}

absl::StatusOr<ProcessSpec> ParseProcessSpec(absl::string_view json) {
  return Guarded<ProcessSpec>(json, ReadProcess, "the process spec");
}

absl::Status CheckFirstNamespaces(const Namespaces& names) {
  const std::pair<const char*, const std::string*> paths[] = {{"pid", &names.pid_path},
                                                              {"ipc", &names.ipc_path},
                                                              {"uts", &names.uts_path},
                                                              {"user", &names.user_path},
                                                              {"time", &names.time_path}};
  for (const auto& [type, path] : paths) {
    if (path->rfind("/proc/", 0) != 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("linux.namespaces: ", type, " at \"", *path, "\": it names nothing in the guest"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Resources> ParseResources(absl::string_view json) {
  return Guarded<Resources>(json, ReadResourcesOnly, "the resources");
}

}  // namespace kata::agent
