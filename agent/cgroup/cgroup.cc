// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup/cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include <absl/strings/numbers.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

#include "agent/base/errors.h"
#include "agent/cgroup/directory_walk.h"
#include "agent/cgroup/limits.h"
#include "agent/cgroup/reserve.h"

namespace kata::agent {
namespace {

constexpr size_t kFileSizeMax = 1u << 20;

// Its name has no meaning in the container, where it is the root.
constexpr char kInnerName[] = "container";
// The io thread does nothing else for about this long.
constexpr std::chrono::milliseconds kSlice{2};

using Clock = std::chrono::steady_clock;

absl::StatusOr<std::string> MakeDirectory(const std::string& parent, const std::string& name) {
  std::string path = absl::StrCat(parent, "/", name);
  for (int i = 1; ::mkdir(path.c_str(), 0755) != 0; ++i) {
    if (errno != EEXIST || i > kCgroupNamesakesMax)
      return SystemError(errno, absl::StrCat("creating cgroup \"", path, "\""));
    path = absl::StrCat(parent, "/", name, ".", i);
  }
  return path;
}

absl::Status BoundOuter(const std::string& parent, const std::string& outer) {
  RETURN_IF_ERROR(EnableControllers(outer));
  RETURN_IF_ERROR(WriteBounds(outer, BoundsOfOne(ReadBounds(parent))));
  return WriteExisting(absl::StrCat(outer, "/cgroup.max.descendants"), absl::StrCat(kCgroupDirsMax));
}

// A share and a protection count among siblings, and the container's siblings are those of `outer`.
absl::Status CopyShares(const std::string& inner, const std::string& outer) {
  // The kernel takes no weight for an idle group.
  for (const char* file : {"cpu.idle", "cpu.weight", "io.weight", "io.bfq.weight", "memory.min", "memory.low"}) {
    auto text = ReadFile(absl::StrCat(inner, "/", file), kFileSizeMax);
    if (!text.ok()) continue;
    auto before = ReadFile(absl::StrCat(outer, "/", file), kFileSizeMax);
    if (before.ok() && *before == *text) continue;
    // The kernel takes one line per write.
    for (absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
      absl::Status status = WriteExisting(absl::StrCat(outer, "/", file), std::string(line));
      if (!status.ok()) return absl::InternalError(status.message());
    }
  }
  return absl::OkStatus();
}

void AddPids(int directory, std::vector<pid_t>& out) {
  UniqueFd file(::openat(directory, "cgroup.procs", O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return;
  // One of the threaded type lists no processes.
  auto text = ReadAll(file.get(), kFileSizeMax);
  if (!text.ok()) return;
  for (absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    pid_t pid = 0;
    if (absl::SimpleAtoi(line, &pid) && pid > 0 && out.size() < kCgroupPidsMax) out.push_back(pid);
  }
}

absl::Status RemoveOne(int parent, const std::string& name) {
  if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return absl::OkStatus();
  if (errno == EBUSY) return absl::FailedPreconditionError(absl::StrCat("cgroup \"", name, "\" is busy"));
  return SystemError(errno, absl::StrCat("removing cgroup \"", name, "\""));
}

}  // namespace

absl::StatusOr<Cgroup> Cgroup::Create(const std::string& parent, const std::string& name, const Resources& resources) {
  std::vector<DeviceRule> rules = resources.device_rules;
  for (const DeviceRule& rule : DefaultDeviceRules()) rules.push_back(rule);
  Cgroup out;
  ASSIGN_OR_RETURN(out.outer_, MakeDirectory(parent, name));
  out.path_ = absl::StrCat(out.outer_, "/", kInnerName);
  absl::Status status = BoundOuter(parent, out.outer_);
  if (status.ok() && ::mkdir(out.path_.c_str(), 0755) != 0)
    status = SystemError(errno, absl::StrCat("creating cgroup \"", out.path_, "\""));
  if (status.ok()) out.fd_.reset(::open(out.path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (status.ok() && !out.fd_.valid()) status = SystemError(errno, absl::StrCat("opening cgroup \"", out.path_, "\""));
  if (status.ok()) status = SetLimits(out.path_, resources);
  if (status.ok()) status = CopyShares(out.path_, out.outer_);
  if (status.ok()) status = AttachDeviceProgram(out.fd(), EncodeDeviceProgram(rules));
  if (!status.ok()) {
    ::rmdir(out.path_.c_str());
    ::rmdir(out.outer_.c_str());
    return status;
  }
  return out;
}

Co<absl::StatusOr<std::vector<pid_t>>> PidsBelow(std::string directory) {
  std::vector<pid_t> out;
  auto walk = DirectoryWalk::Open(directory);
  if (!walk.ok()) co_return walk.status();
  auto slice_end = Clock::now() + kSlice;
  for (size_t visited = 0; visited <= kCgroupDirsMax;) {
    auto step = walk->Next();
    // What is being removed under the walk has no processes any more.
    if (!step.ok() || *step == DirectoryWalk::Step::kEnded) break;
    if (*step == DirectoryWalk::Step::kEntered) {
      AddPids(walk->fd(), out);
      ++visited;
    }
    if (Clock::now() < slice_end) continue;
    co_await Sleep(std::chrono::nanoseconds(0));
    slice_end = Clock::now() + kSlice;
  }
  co_return out;
}

Co<absl::Status> RemoveCgroups(std::string directory) {
  auto walk = DirectoryWalk::Open(directory);
  if (absl::IsNotFound(walk.status())) co_return absl::OkStatus();
  if (!walk.ok()) co_return walk.status();
  auto slice_end = Clock::now() + kSlice;
  for (;;) {
    auto step = walk->Next();
    if (!step.ok()) co_return absl::InternalError(step.status().message());
    if (*step == DirectoryWalk::Step::kLeft) CO_RETURN_IF_ERROR(RemoveOne(walk->fd(), walk->name()));
    if (*step == DirectoryWalk::Step::kEnded) co_return RemoveOne(AT_FDCWD, directory);
    if (Clock::now() < slice_end) continue;
    co_await Sleep(std::chrono::nanoseconds(0));
    slice_end = Clock::now() + kSlice;
  }
}

absl::Status Cgroup::Update(const Resources& resources) const {
  RETURN_IF_ERROR(UpdateLimits(path_, resources));
  return CopyShares(path_, outer_);
}

absl::Status Cgroup::Rebound(const std::string& parent) const {
  return MoveBounds(outer_, BoundsOfOne(ReadBounds(parent)));
}

absl::Status Cgroup::Kill() const {
  absl::Status status = WriteExisting(absl::StrCat(outer_, "/cgroup.kill"), "1");
  if (absl::IsNotFound(status)) return absl::OkStatus();
  return status;
}

Co<absl::Status> Cgroup::Remove() const { return RemoveCgroups(outer_); }

absl::Status EnableControllers(const std::string& directory) {
  ASSIGN_OR_RETURN(std::string text, ReadFile(absl::StrCat(directory, "/cgroup.controllers"), kFileSizeMax));
  const std::string file = absl::StrCat(directory, "/cgroup.subtree_control");
  const std::vector<std::string> names = absl::StrSplit(absl::StripAsciiWhitespace(text), ' ', absl::SkipEmpty());
  if (names.empty()) return absl::OkStatus();
  if (WriteExisting(file, absl::StrCat("+", absl::StrJoin(names, " +"))).ok()) return absl::OkStatus();
  // One at a time: a controller that cannot be enabled must not take the others with it.
  for (const std::string& name : names) {
    absl::Status status = WriteExisting(file, absl::StrCat("+", name));
    if (!status.ok() && (name == "memory" || name == "pids" || name == "cpu")) return status;
  }
  return absl::OkStatus();
}

}  // namespace kata::agent
