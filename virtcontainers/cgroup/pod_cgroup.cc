// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/cgroup/pod_cgroup.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>

#include "proto/base/fd.h"
#include "proto/base/log.h"
#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

constexpr size_t kSmallFileMax = 256u << 10;
constexpr int kRemoveTries = 100;
constexpr useconds_t kRemovePause = 10'000;
constexpr std::chrono::seconds kDyingPatience{20};
constexpr const char* kControllers[] = {"cpu", "cpuset", "memory", "pids", "io"};

std::string DirectoryOf(const CgroupHierarchy& hierarchy, const std::string& path) {
  return path.empty() ? hierarchy.directory : absl::StrCat(hierarchy.directory, "/", path);
}

// A cpuset of version 1 begins empty, and takes no process before it has both.
absl::Status InheritCpuset(const std::string& parent, const std::string& directory) {
  for (const char* name : {"/cpuset.cpus", "/cpuset.mems"}) {
    auto own = ReadFile(directory + name, kSmallFileMax);
    if (!own.ok() || *own != "\n") continue;
    ASSIGN_OR_RETURN(const std::string text, ReadFile(parent + name, kSmallFileMax));
    RETURN_IF_ERROR(WriteExisting(directory + name, text));
  }
  return absl::OkStatus();
}

// Only then the cgroups below have numbers of their own. A controller that cannot be had is missed in statistics alone.
void EnableControllers(const std::string& parent) {
  for (const char* name : kControllers)
    WriteExisting(parent + "/cgroup.subtree_control", absl::StrCat("+", name)).IgnoreError();
}

absl::Status MakeIn(const CgroupHierarchy& hierarchy, const std::string& path) {
  std::string directory = hierarchy.directory;
  for (absl::string_view part : absl::StrSplit(path, '/')) {
    const std::string parent = directory;
    absl::StrAppend(&directory, "/", part);
    if (hierarchy.is_version2) EnableControllers(parent);
    if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST)
      return ErrnoStatus(errno, absl::StrCat("making \"", directory, "\""));
    if (!hierarchy.is_version2) RETURN_IF_ERROR(InheritCpuset(parent, directory));
  }
  return absl::OkStatus();
}

std::vector<pid_t> ReadProcesses(const std::string& directory) {
  std::vector<pid_t> out;
  auto text = ReadFile(directory + "/cgroup.procs", kSmallFileMax);
  if (!text.ok()) return out;
  for (absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    pid_t pid = 0;
    if (absl::SimpleAtoi(line, &pid)) out.push_back(pid);
  }
  return out;
}

// This process, and its loggers and hooks.
bool IsOurs(pid_t pid) {
  if (pid == ::getpid()) return true;
  auto status = ReadFile(absl::StrCat("/proc/", pid, "/status"), kSmallFileMax);
  return status.ok() && status->find(absl::StrCat("\nPPid:\t", ::getpid(), "\n")) != std::string::npos;
}

bool HasProcesses(const std::string& directory) {
  auto list = ReadFile(absl::StrCat(directory, "/cgroup.procs"), kSmallFileMax);
  return !list.ok() || !list->empty();  // more than are read count as well
}

// `patience`: for processes that have ended and still give back what they had, a daemon its thousands of open files.
absl::Status RemoveDirectories(std::vector<std::string> directories, std::chrono::milliseconds patience) {
  absl::Status status;
  const auto until = std::chrono::steady_clock::now() + patience;
  for (int i = 0; !directories.empty(); ++i) {
    std::vector<std::string> busy;
    for (std::string& directory : directories) {
      if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) continue;
      if (errno == EBUSY)
        busy.push_back(std::move(directory));
      else
        status.Update(ErrnoStatus(errno, absl::StrCat("removing cgroup \"", directory, "\"")));
    }
    directories = std::move(busy);
    if (directories.empty()) break;
    if (i >= kRemoveTries) {
      const bool is_over = std::chrono::steady_clock::now() >= until;
      std::erase_if(directories, [is_over](const std::string& directory) {
        const bool is_used = HasProcesses(directory);
        if (is_used || is_over)
          log::Info("cgroup \"{}\" stays: it has {}", directory, is_used ? "processes of others" : "dying processes");
        return is_used || is_over;
      });
    }
    // The kernel lets go of a cgroup a moment after its last process.
    ::usleep(kRemovePause);
  }
  return status;
}

absl::Status WritePid(const std::string& file, pid_t pid) {
  absl::Status status = WriteExisting(file, std::to_string(pid));
  return Annotate(status, absl::StrCat("moving process ", pid, " into it"));
}

}  // namespace

absl::StatusOr<std::shared_ptr<PodCgroup>> PodCgroup::Make(const std::string& root, const std::string& path,
                                                           const std::string& record, const std::string& origin) {
  const std::string what = absl::StrCat("making the pod's cgroup \"", path, "\" (linux.cgroupsPath)");
  auto checked = CheckCgroupPath(path);
  if (!checked.ok()) return Annotate(checked.status(), what);
  RETURN_IF_ERROR(Annotate(WriteFileAtomically(record, *checked, 0600), what));
  std::vector<Place> places;
  for (CgroupHierarchy& hierarchy : FindHierarchies(root)) {
    // There it counts nothing, and libvirt has the machine in a cgroup of its own with the few devices that it needs.
    if (absl::EndsWith(hierarchy.directory, "/devices")) continue;
    RETURN_IF_ERROR(Annotate(MakeIn(hierarchy, *checked), what));
    places.push_back({.hierarchy = hierarchy, .origin = DirectoryOf(hierarchy, FindOwnCgroup(origin, hierarchy))});
  }
  return std::shared_ptr<PodCgroup>(new PodCgroup(*std::move(checked), std::move(places)));
}

absl::Status PodCgroup::Add(pid_t pid) const {
  // One that has begun in it is not moved: each move waits for the kernel's other processors.
  const std::string now = ReadFile(absl::StrCat("/proc/", pid, "/cgroup"), kSmallFileMax).value_or("");
  for (const Place& place : places_) {
    if (FindOwnCgroup(now, place.hierarchy) == path_) continue;
    const std::string directory = DirectoryOf(place.hierarchy, path_);
    RETURN_IF_ERROR(Annotate(WritePid(directory + "/cgroup.procs", pid), absl::StrCat("cgroup \"", directory, "\"")));
  }
  return absl::OkStatus();
}

absl::Status PodCgroup::AddThread(pid_t tid) const {
  for (const Place& place : places_) {
    if (place.hierarchy.is_version2) continue;
    const std::string directory = DirectoryOf(place.hierarchy, path_);
    RETURN_IF_ERROR(Annotate(WritePid(directory + "/tasks", tid), absl::StrCat("cgroup \"", directory, "\"")));
  }
  return absl::OkStatus();
}

uint64_t PodCgroup::MemoryLimit() const {
  uint64_t least = kNoMemoryLimit;
  for (const Place& place : places_) {
    const char* file = place.hierarchy.is_version2 ? "/memory.max" : "/memory.limit_in_bytes";
    for (std::string path = path_; !path.empty();
         path.resize(path.find('/') == std::string::npos ? 0 : path.rfind('/'))) {
      auto text = ReadFile(DirectoryOf(place.hierarchy, path) + file, kSmallFileMax);
      uint64_t limit = 0;
      // "max" is no number; version 1 has a number of some 2^63 for none.
      if (text.ok() && absl::SimpleAtoi(absl::StripAsciiWhitespace(*text), &limit)) least = std::min(least, limit);
    }
  }
  return least;
}

uint64_t PodCgroup::OomKills() const {
  uint64_t kills = 0;
  for (const Place& place : places_) {
    const char* file = place.hierarchy.is_version2 ? "/memory.events" : "/memory.oom_control";
    auto text = ReadFile(DirectoryOf(place.hierarchy, path_) + file, kSmallFileMax);
    if (!text.ok()) continue;
    for (absl::string_view line : absl::StrSplit(*text, '\n')) {
      uint64_t count = 0;
      if (absl::ConsumePrefix(&line, "oom_kill ") && absl::SimpleAtoi(line, &count)) kills = std::max(kills, count);
    }
  }
  return kills;
}

void PodCgroup::LetGo() const {
  for (const Place& place : places_) {
    for (pid_t pid : ReadProcesses(DirectoryOf(place.hierarchy, path_))) {
      if (!IsOurs(pid)) continue;
      // Where it came from may have gone; the top is always there.
      if (!WritePid(place.origin + "/cgroup.procs", pid).ok())
        WritePid(place.hierarchy.directory + "/cgroup.procs", pid).IgnoreError();
    }
  }
}

absl::Status PodCgroup::Remove() const {
  LetGo();
  std::vector<std::string> directories;
  for (const Place& place : places_) directories.push_back(DirectoryOf(place.hierarchy, path_));
  return RemoveDirectories(std::move(directories), kDyingPatience);
}

absl::Status RemoveRecordedCgroup(const std::string& root, const std::string& record) {
  auto text = ReadFile(record, kSmallFileMax);
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  if (!text.ok()) return text.status();
  ASSIGN_OR_RETURN(const std::string path, CheckCgroupPath(*text));
  std::vector<std::string> directories;
  for (const CgroupHierarchy& hierarchy : FindHierarchies(root)) directories.push_back(DirectoryOf(hierarchy, path));
  return RemoveDirectories(std::move(directories), std::chrono::milliseconds(0));  // its caller waits for seconds only
}

}  // namespace kata::virtcontainers
