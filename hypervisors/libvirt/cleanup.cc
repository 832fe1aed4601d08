// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/cleanup.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include <absl/strings/numbers.h>

#include "hypervisors/hypervisor.h"
#include "proto/base/fd.h"
#include "proto/base/process.h"
#include "proto/base/status.h"

namespace kata::hypervisors {
namespace {

namespace fs = std::filesystem;

constexpr size_t kSmallFileMax = 256u << 10;
constexpr int kRemoveTries = 20;
constexpr useconds_t kRemovePause = 5000;

// "qemu-embed-<digest of libvirt's root>-<digits>-<domain>" and nothing else before a dot; "qemu-<digits>-<domain>" of
// a libvirt that is not embedded has the same end.
bool IsCgroupOf(const std::string& entry, const std::string& domain) {
  constexpr std::string_view kPrefix = "qemu-";
  constexpr std::string_view kEmbedded = "embed-";
  if (entry.rfind(kPrefix, 0) != 0) return false;
  size_t begin = kPrefix.size();
  if (entry.compare(begin, kEmbedded.size(), kEmbedded) == 0) {
    begin = entry.find_first_not_of("0123456789abcdef", begin + kEmbedded.size());
    if (begin == std::string::npos || entry[begin] != '-') return false;
    ++begin;
  }
  const size_t end = entry.find_first_not_of("0123456789", begin);
  if (end == std::string::npos || end == begin || entry[end] != '-') return false;
  const std::string rest = entry.substr(end + 1);
  return rest.rfind(domain, 0) == 0 && (rest.size() == domain.size() || rest[domain.size()] == '.');
}

int RemoveTree(const fs::path& directory) {
  std::error_code ec;
  for (fs::directory_iterator it(directory, ec), end; !ec && it != end; it.increment(ec)) {
    std::error_code type_error;
    if (it->symlink_status(type_error).type() == fs::file_type::directory) RemoveTree(it->path());
  }
  return rmdir(directory.c_str()) == 0 || errno == ENOENT ? 0 : errno;
}

std::vector<fs::path> CgroupsOf(const fs::path& parent, const std::string& domain) {
  std::vector<fs::path> found;
  for (const char* partition : {"machine", "machine.slice"}) {
    std::error_code ec;
    for (fs::directory_iterator it(parent / partition, ec), end; !ec && it != end; it.increment(ec)) {
      if (IsCgroupOf(it->path().filename().string(), domain)) found.push_back(it->path());
    }
  }
  return found;
}

}  // namespace

pid_t PidFromFile(const MachinePaths& paths, const std::string& domain) {
  // The link may be gone already; the runtime directory is the truth.
  absl::StatusOr<std::string> text =
      ReadFile(paths.runtime_dir + "/libvirt/run/qemu/" + domain + ".pid", kSmallFileMax);
  if (!text.ok()) return 0;
  const long pid = std::strtol(text->c_str(), nullptr, 10);
  return pid > 1 ? static_cast<pid_t>(pid) : 0;
}

bool IsMachineProcess(pid_t pid, const MachinePaths& paths, const std::string& domain) {
  absl::StatusOr<std::string> text = ReadFile("/proc/" + std::to_string(pid) + "/cmdline", kSmallFileMax);
  if (!text.ok()) return false;
  const std::string name = std::string(1, '\0') + "guest=" + domain;
  const size_t at = text->find(name);
  if (at == std::string::npos) return false;
  const char next = at + name.size() < text->size() ? (*text)[at + name.size()] : '\0';
  return (next == ',' || next == '\0') && text->find(paths.libvirt_root + "/") != std::string::npos;
}

UniqueFd OpenMachineProcess(const MachinePaths& paths, const std::string& domain) {
  const pid_t pid = PidFromFile(paths, domain);
  if (pid == 0) return UniqueFd();
  UniqueFd pidfd = OpenProcess(pid);
  // Asked after the descriptor is open: it cannot move to another process any more.
  if (!pidfd.valid() || !IsMachineProcess(pid, paths, domain)) return UniqueFd();
  return pidfd;
}

std::vector<EmulatorProcess> FindEmulators(const MachinePaths& paths) {
  std::vector<EmulatorProcess> found;
  const std::string sockets = paths.libvirt_root + "/lib/qemu/";
  std::error_code ec;
  for (fs::directory_iterator it("/proc", ec), end; !ec && it != end; it.increment(ec)) {
    EmulatorProcess process;
    if (!absl::SimpleAtoi(it->path().filename().string(), &process.pid)) continue;
    const std::string command = it->path().string() + "/cmdline";
    absl::StatusOr<std::string> text = ReadFile(command, kSmallFileMax);
    if (!text.ok() || text->find(sockets) == std::string::npos) continue;
    process.pidfd = OpenProcess(process.pid);
    // Asked again now that the descriptor is open: it cannot move to another process any more.
    text = ReadFile(command, kSmallFileMax);
    if (!process.pidfd.valid() || !text.ok() || text->find(sockets) == std::string::npos) continue;
    found.push_back(std::move(process));
  }
  return found;
}

absl::Status RemoveCgroups(const std::string& cgroup_root, const std::string& domain) {
  std::vector<fs::path> found = CgroupsOf(cgroup_root, domain);
  std::error_code ec;
  for (fs::directory_iterator it(cgroup_root, ec), end; !ec && it != end; it.increment(ec)) {
    std::error_code type_error;
    if (it->symlink_status(type_error).type() != fs::file_type::directory) continue;
    for (fs::path& path : CgroupsOf(it->path(), domain)) found.push_back(std::move(path));
  }
  for (const fs::path& path : found) {
    int error = RemoveTree(path);
    // The kernel lets go of a cgroup a moment after its last process.
    for (int i = 0; error == EBUSY && i < kRemoveTries; ++i) {
      usleep(kRemovePause);
      error = RemoveTree(path);
    }
    if (error != 0) return ErrnoStatus(error, absl::StrCat("remove cgroup \"", path.string(), "\""));
  }
  return absl::OkStatus();
}

absl::Status RemoveFiles(const MachinePaths& paths) {
  for (const std::string& path : {paths.runtime_dir + "/libvirt", paths.runtime_dir + "/agent.sock",
                                  paths.runtime_dir + "/console", paths.short_dir}) {
    std::error_code ec;
    fs::remove_all(path, ec);  // a symbolic link goes itself, not what it points to
    if (ec && ec != std::errc::no_such_file_or_directory) {
      return ErrnoStatus(ec.value(), absl::StrCat("remove \"", path, "\""));
    }
  }
  return absl::OkStatus();
}

absl::Status CleanUpMachine(const std::string& name, const std::string& runtime_dir,
                            std::chrono::milliseconds timeout) {
  const MachinePaths paths(runtime_dir);
  const std::string domain = DomainName(name);
  const UniqueFd pidfd = OpenMachineProcess(paths, domain);
  const std::string what = absl::StrCat("the process of machine \"", domain, "\"");
  const auto until = std::chrono::steady_clock::now() + timeout;
  const auto left = [until] {
    const auto rest = until - std::chrono::steady_clock::now();
    return std::max(std::chrono::duration_cast<std::chrono::milliseconds>(rest), std::chrono::milliseconds(0));
  };
  if (pidfd.valid()) RETURN_IF_ERROR(KillProcess(pidfd.get(), what, left()));
  for (const EmulatorProcess& emulator : FindEmulators(paths)) {
    RETURN_IF_ERROR(KillProcess(emulator.pidfd.get(), what, left()));
  }
  absl::Status status = RemoveCgroups("/sys/fs/cgroup", domain);
  status.Update(RemoveFiles(paths));
  return status;
}

}  // namespace kata::hypervisors
