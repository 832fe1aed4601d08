// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/storage/memory_volume.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>

#include "proto/base/fd.h"
#include "proto/base/log.h"
#include "proto/base/status.h"
#include "virtcontainers/storage/mountinfo.h"

namespace kata::virtcontainers {
namespace {

constexpr char kEmptyDir[] = "/volumes/kubernetes.io~empty-dir/";
constexpr int kEntriesMax = 4096;  // looked at in a volume before it counts as one with files
constexpr char kInGuest[] = "guest";
constexpr char kOnHost[] = "host";

bool IsAtOrBelow(absl::string_view path, absl::string_view top) {
  return top == "/" || path == top || (absl::StartsWith(path, top) && path[top.size()] == '/');
}

std::string Below(absl::string_view path, absl::string_view top) {
  absl::ConsumePrefix(&path, top);
  absl::ConsumePrefix(&path, "/");
  return std::string(path);
}

std::string Octal(mode_t mode) {
  char text[16];
  std::snprintf(text, sizeof(text), "%o", mode & 07777u);
  return text;
}

// The mount that holds `path`: the deepest, and of several on one place the last.
const MountEntry* MountOf(const std::vector<MountEntry>& mounts, const std::string& path, const std::string& device) {
  const MountEntry* found = nullptr;
  for (const MountEntry& entry : mounts) {
    if (entry.device != device || !IsAtOrBelow(path, entry.place)) continue;
    if (found == nullptr || entry.place.size() >= found->place.size()) found = &entry;
  }
  return found;
}

// The mount of the whole volume: the kubelet's, or the engine's shared memory of a pod.
const MountEntry* VolumeOf(const std::vector<MountEntry>& mounts, const MountEntry& mount, const std::string& path,
                           const std::string& destination, bool has_hugepages) {
  for (const MountEntry& entry : mounts) {
    if (entry.device == mount.device && entry.root == "/" && absl::StrContains(entry.place, kEmptyDir)) return &entry;
  }
  // Its files cannot be read or written, so that no share of them would be of use.
  if (has_hugepages) return mount.root == "/" && mount.place == path ? &mount : nullptr;
  const bool is_shm = destination == "/dev/shm" || destination == "/dev/shm/";
  // The host's own is /dev/shm: who binds that asks for the host's files.
  if (is_shm && mount.root == "/" && mount.place == path && !IsAtOrBelow(path, "/dev")) return &mount;
  return nullptr;
}

bool HasFiles(const std::string& directory) {
  std::error_code error;
  std::filesystem::recursive_directory_iterator at(directory, error);
  int count = 0;
  while (!error && at != std::filesystem::recursive_directory_iterator()) {
    const bool is_directory = at->symlink_status(error).type() == std::filesystem::file_type::directory;
    if (error || !is_directory || ++count > kEntriesMax) return true;
    at.increment(error);
  }
  return static_cast<bool>(error);
}

// What was decided before, or else what is decided now.
absl::StatusOr<bool> IsInGuest(const MountEntry& volume, const std::string& note) {
  auto noted = ReadFile(note, 16);
  if (noted.ok()) return *noted == kInGuest;
  const bool has_files = HasFiles(volume.place);
  if (has_files) log::Info("memory volume \"{}\" has files already: it stays the host's", volume.place);
  RETURN_IF_ERROR(WriteFileAtomically(note, has_files ? kOnHost : kInGuest, 0600));
  return !has_files;
}

// A size that nobody gave is half of the host's memory, of which a machine has a small part: its containers' limits are
// the bound then, as on the host.
std::vector<std::string> OptionsOf(const MountEntry& volume, const struct stat& info, const struct statfs& system) {
  std::vector<std::string> out = {absl::StrCat("mode=", Octal(info.st_mode)), absl::StrCat("uid=", info.st_uid),
                                  absl::StrCat("gid=", info.st_gid)};
  bool has_size = false;
  bool has_inodes = false;
  for (absl::string_view word : absl::StrSplit(volume.super_options, ',')) {
    has_size = has_size || absl::StartsWith(word, "size=");
    has_inodes = has_inodes || absl::StartsWith(word, "nr_inodes=");
    if (absl::StartsWith(word, "size=") || absl::StartsWith(word, "nr_inodes=") || absl::StartsWith(word, "pagesize="))
      out.emplace_back(word);
  }
  const bool is_tmpfs = system.f_type == TMPFS_MAGIC;
  if (!has_size && is_tmpfs) out.push_back(absl::StrCat("size=", system.f_blocks * system.f_bsize / 1024, "k"));
  if (!has_inodes && is_tmpfs) out.push_back(absl::StrCat("nr_inodes=", system.f_files));
  for (absl::string_view word : absl::StrSplit(volume.options, ',')) {
    if (word == "nosuid" || word == "nodev" || word == "noexec" || word == "noatime") out.emplace_back(word);
  }
  return out;
}

absl::Status AddDirectories(const std::string& volume, MemoryVolume& out) {
  std::string path;
  for (absl::string_view part : absl::StrSplit(out.path, '/', absl::SkipEmpty())) {
    absl::StrAppend(&path, path.empty() ? "" : "/", part);
    struct stat info {};
    const std::string full = absl::StrCat(volume, "/", path);
    if (::lstat(full.c_str(), &info) != 0) return ErrnoStatus(errno, absl::StrCat("looking at \"", full, "\""));
    if (!S_ISDIR(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat("\"", full, "\" is no directory"));
    out.directories.push_back({path, info.st_mode & 07777u, info.st_uid, info.st_gid});
  }
  return absl::OkStatus();
}

}  // namespace

std::string MemoryVolume::GuestMountPoint() const { return absl::StrCat(kGuestMemoryVolumes, "/", key); }
std::string MemoryVolume::GuestSource() const {
  return path.empty() ? GuestMountPoint() : absl::StrCat(GuestMountPoint(), "/", path);
}

absl::StatusOr<std::optional<MemoryVolume>> FindMemoryVolume(const std::string& source, const std::string& destination,
                                                             const std::string& notes) {
  struct stat info {};
  struct statfs system {};
  char path[PATH_MAX];
  const auto has_hugepages = [](const struct statfs& of) { return of.f_type == HUGETLBFS_MAGIC; };
  // What cannot be looked at is no volume; the bind itself says what is wrong.
  if (::stat(source.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || ::statfs(source.c_str(), &system) != 0 ||
      (system.f_type != TMPFS_MAGIC && !has_hugepages(system)) || ::realpath(source.c_str(), path) == nullptr) {
    return std::nullopt;
  }
  ASSIGN_OR_RETURN(const std::vector<MountEntry> mounts, Mounts());
  const std::string device = absl::StrCat(major(info.st_dev), ":", minor(info.st_dev));
  const MountEntry* mount = MountOf(mounts, path, device);
  if (mount == nullptr) return std::nullopt;
  const MountEntry* volume = VolumeOf(mounts, *mount, path, destination, has_hugepages(system));
  if (volume == nullptr || ::stat(volume->place.c_str(), &info) != 0) return std::nullopt;
  MemoryVolume out;
  out.type = has_hugepages(system) ? "hugetlbfs" : "tmpfs";
  out.key = absl::StrReplaceAll(device, {{":", "-"}});
  RETURN_IF_ERROR(MakeDirs(notes, 0700));
  ASSIGN_OR_RETURN(bool is_in_guest, IsInGuest(*volume, absl::StrCat(notes, "/", out.key)));
  if (!is_in_guest) return std::nullopt;
  const std::string rest = Below(path, mount->place);
  out.path = Below(mount->root, "/");
  if (!rest.empty()) absl::StrAppend(&out.path, out.path.empty() ? "" : "/", rest);
  out.options = OptionsOf(*volume, info, system);
  RETURN_IF_ERROR(AddDirectories(volume->place, out));
  return out;
}

}  // namespace kata::virtcontainers
