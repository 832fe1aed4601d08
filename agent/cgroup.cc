// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>

#include "agent/errors.h"

namespace kata::agent {
namespace {

constexpr size_t kFileSizeMax = 1u << 20;

std::string LimitText(int64_t value) { return value < 0 ? "max" : absl::StrCat(value); }

// `directory` and all below it, children after their parent.
std::vector<std::string> Tree(const std::string& directory) {
  std::vector<std::string> out = {directory};
  for (size_t i = 0; i < out.size() && out.size() < kCgroupDirsMax; ++i) {
    std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(out[i].c_str()), ::closedir);
    if (dir == nullptr) continue;
    const std::string here = out[i];
    while (dirent* entry = ::readdir(dir.get())) {
      if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
        out.push_back(absl::StrCat(here, "/", entry->d_name));
    }
  }
  return out;
}

absl::Status WriteValue(const std::string& path, const std::string& file,
                        const std::string& value) {
  absl::Status status = WriteExisting(absl::StrCat(path, "/", file), value);
  // Without swap in the kernel there is nothing to limit.
  if (absl::IsNotFound(status) && file == "memory.swap.max") return absl::OkStatus();
  if (status.ok()) return status;
  return absl::InternalError(
      absl::StrCat("setting cgroup ", file, " to \"", value, "\": ", status.message()));
}

}  // namespace

uint64_t CpuWeightOfShares(uint64_t shares) {
  if (shares == 0) return 0;
  shares = std::clamp<uint64_t>(shares, 2, 262144);
  return 1 + ((shares - 2) * 9999) / 262142;
}

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> CgroupValues(const Resources& r) {
  std::vector<std::pair<std::string, std::string>> out;
  if (r.cpu_shares.value_or(0) != 0)
    out.emplace_back("cpu.weight", absl::StrCat(CpuWeightOfShares(*r.cpu_shares)));
  if (r.cpu_quota.value_or(0) != 0 || r.cpu_period.value_or(0) != 0) {
    const int64_t quota = r.cpu_quota.value_or(0);
    const uint64_t period = r.cpu_period.value_or(0) == 0 ? 100000 : *r.cpu_period;
    out.emplace_back("cpu.max", absl::StrCat(quota > 0 ? absl::StrCat(quota) : "max", " ", period));
  }
  if (!r.cpuset_cpus.empty()) out.emplace_back("cpuset.cpus", r.cpuset_cpus);
  if (!r.cpuset_mems.empty()) out.emplace_back("cpuset.mems", r.cpuset_mems);
  const int64_t limit = r.memory_limit.value_or(0);
  if (limit != 0) out.emplace_back("memory.max", LimitText(limit));
  if (const int64_t swap = r.memory_swap.value_or(0); swap < 0) {
    out.emplace_back("memory.swap.max", "max");
  } else if (swap > 0) {
    if (limit <= 0 || swap < limit) {
      return absl::InvalidArgumentError(absl::StrCat("linux.resources.memory.swap ", swap,
                                                     ": must be at least the memory limit"));
    }
    out.emplace_back("memory.swap.max", absl::StrCat(swap - limit));
  }
  if (r.memory_reservation.value_or(0) != 0)
    out.emplace_back("memory.low", LimitText(*r.memory_reservation));
  if (r.pids_limit.value_or(0) != 0) out.emplace_back("pids.max", LimitText(*r.pids_limit));
  for (const auto& [file, value] : r.unified) {
    if (file.empty() || file.find('/') != std::string::npos || file[0] == '.') {
      return absl::InvalidArgumentError(
          absl::StrCat("linux.resources.unified \"", file, "\": not a file name"));
    }
    out.emplace_back(file, value);
  }
  return out;
}

absl::StatusOr<Cgroup> Cgroup::Create(const std::string& parent, const std::string& name,
                                      const Resources& resources) {
  ASSIGN_OR_RETURN(auto values, CgroupValues(resources));
  std::vector<DeviceRule> rules = resources.device_rules;
  for (const DeviceRule& rule : DefaultDeviceRules()) rules.push_back(rule);
  Cgroup out;
  out.path_ = absl::StrCat(parent, "/", name);
  if (::mkdir(out.path_.c_str(), 0755) != 0) {
    return SystemError(errno, absl::StrCat("creating cgroup \"", out.path_, "\""));
  }
  out.fd_.reset(::open(out.path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  absl::Status status;
  if (!out.fd_.valid())
    status = SystemError(errno, absl::StrCat("opening cgroup \"", out.path_, "\""));
  for (const auto& [file, value] : values) {
    if (status.ok()) status = WriteValue(out.path_, file, value);
  }
  if (status.ok()) status = AttachDeviceProgram(out.fd(), EncodeDeviceProgram(rules));
  if (!status.ok()) {
    ::rmdir(out.path_.c_str());
    return absl::Status(absl::StatusCode::kInternal, status.message());
  }
  return out;
}

absl::StatusOr<std::vector<pid_t>> Cgroup::Pids() const {
  std::vector<pid_t> out;
  for (const std::string& directory : Tree(path_)) {
    auto text = ReadFile(absl::StrCat(directory, "/cgroup.procs"), kFileSizeMax);
    // A child cgroup may vanish or be of the threaded type, which lists no processes.
    if (!text.ok()) continue;
    for (absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
      pid_t pid = 0;
      if (absl::SimpleAtoi(line, &pid) && pid > 0 && out.size() < kCgroupPidsMax)
        out.push_back(pid);
    }
  }
  return out;
}

absl::Status Cgroup::Kill() const {
  absl::Status status = WriteExisting(absl::StrCat(path_, "/cgroup.kill"), "1");
  if (absl::IsNotFound(status)) return absl::OkStatus();
  return status;
}

bool Cgroup::OomKilled() const {
  auto text = ReadFile(absl::StrCat(path_, "/memory.events"), kFileSizeMax);
  if (!text.ok()) return false;
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
    if (words.size() == 2 && words[0] == "oom_kill") return words[1] != "0";
  }
  return false;
}

absl::Status Cgroup::Remove() {
  std::vector<std::string> directories = Tree(path_);
  for (auto directory = directories.rbegin(); directory != directories.rend(); ++directory) {
    if (::rmdir(directory->c_str()) == 0 || errno == ENOENT) continue;
    if (errno == EBUSY)
      return absl::FailedPreconditionError(absl::StrCat("cgroup \"", path_, "\" is busy"));
    return SystemError(errno, absl::StrCat("removing cgroup \"", *directory, "\""));
  }
  return absl::OkStatus();
}

absl::Status EnableControllers(const std::string& directory) {
  ASSIGN_OR_RETURN(std::string text,
                   ReadFile(absl::StrCat(directory, "/cgroup.controllers"), kFileSizeMax));
  for (absl::string_view name :
       absl::StrSplit(absl::StripAsciiWhitespace(text), ' ', absl::SkipEmpty())) {
    // One at a time: a controller that cannot be enabled must not take the others with it.
    absl::Status status =
        WriteExisting(absl::StrCat(directory, "/cgroup.subtree_control"), absl::StrCat("+", name));
    if (!status.ok() && (name == "memory" || name == "pids" || name == "cpu")) return status;
  }
  return absl::OkStatus();
}

}  // namespace kata::agent
