// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>

#include "agent/cgroup_limits.h"
#include "agent/errors.h"

namespace kata::agent {
namespace {

constexpr size_t kFileSizeMax = 1u << 20;

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

}  // namespace

absl::StatusOr<Cgroup> Cgroup::Create(const std::string& parent, const std::string& name,
                                      const Resources& resources) {
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
  if (status.ok()) status = SetLimits(out.path_, resources);
  if (status.ok()) status = AttachDeviceProgram(out.fd(), EncodeDeviceProgram(rules));
  if (!status.ok()) {
    ::rmdir(out.path_.c_str());
    return status;
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
