// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/mirrors/volume_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

constexpr size_t kEntryCost = 64;  // in a message, beside path and content

class Reader {
 public:
  explicit Reader(dev_t device) : device_(device) {}

  absl::Status ReadDirectory(int fd, const std::string& path, const struct stat& info, int depth) {
    if (depth > kTreeDepthMax) return Unfit(path, absl::StrCat("more than ", kTreeDepthMax, " levels"));
    RETURN_IF_ERROR(Add(path, info, ""));
    ASSIGN_OR_RETURN(std::vector<std::string> names, NamesOf(fd, path));
    for (const std::string& name : names)
      RETURN_IF_ERROR(ReadEntry(fd, name, path.empty() ? name : absl::StrCat(path, "/", name), depth));
    return absl::OkStatus();
  }

  VolumeTree Take() { return std::move(tree_); }

 private:
  static absl::Status Unfit(const std::string& path, absl::string_view why) {
    return absl::FailedPreconditionError(absl::StrCat("\"", path, "\": ", why));
  }

  absl::StatusOr<std::vector<std::string>> NamesOf(int fd, const std::string& path) const {
    UniqueFd own(::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    std::unique_ptr<DIR, int (*)(DIR*)> dir(own.valid() ? ::fdopendir(own.get()) : nullptr, ::closedir);
    if (dir == nullptr) return ErrnoStatus(errno, absl::StrCat("reading \"", path, "\""));
    own.release();  // the stream has it
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(dir.get())) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
      if (tree_.entries.size() + names.size() > kTreeEntriesMax)
        return Unfit(path, absl::StrCat("more than ", kTreeEntriesMax, " files"));
      errno = 0;
    }
    if (errno != 0) return ErrnoStatus(errno, absl::StrCat("reading \"", path, "\""));
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::Status ReadEntry(int parent, const std::string& name, const std::string& path, int depth) {
    struct stat info {};
    const std::string what = absl::StrCat("reading \"", path, "\"");
    if (::fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return ErrnoStatus(errno, what);
    if (S_ISLNK(info.st_mode)) {
      char target[PATH_MAX];
      const ssize_t size = ::readlinkat(parent, name.c_str(), target, sizeof(target));
      if (size < 0) return ErrnoStatus(errno, what);
      return Add(path, info, std::string(target, static_cast<size_t>(size)));
    }
    if (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode)) return Unfit(path, "no file, directory or link");
    const int kind = S_ISDIR(info.st_mode) ? O_DIRECTORY : O_NONBLOCK;
    const UniqueFd fd(::openat(parent, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | kind));
    // Another one may be there by now.
    if (!fd.valid() || ::fstat(fd.get(), &info) != 0) return ErrnoStatus(errno == ELOOP ? ENOENT : errno, what);
    if (info.st_dev != device_) return Unfit(path, "another file system is mounted there");
    if (S_ISDIR(info.st_mode)) return ReadDirectory(fd.get(), path, info, depth + 1);
    if (!S_ISREG(info.st_mode)) return Unfit(path, "no file");
    auto content = ReadAll(fd.get(), kTreeBytesMax - tree_.bytes);
    if (absl::IsResourceExhausted(content.status()))
      return Unfit(path, absl::StrCat("more than ", kTreeBytesMax, " bytes in the volume"));
    if (!content.ok()) return Annotate(content.status(), what);
    return Add(path, info, *std::move(content));
  }

  absl::Status Add(const std::string& path, const struct stat& info, std::string content) {
    TreeEntry entry;
    entry.path = path;
    entry.mode = info.st_mode;
    entry.uid = info.st_uid;
    entry.gid = info.st_gid;
    entry.mtime_ns = info.st_mtim.tv_sec * int64_t{1'000'000'000} + info.st_mtim.tv_nsec;
    entry.content = std::move(content);
    tree_.bytes += kEntryCost + path.size() + entry.content.size();
    if (tree_.bytes > kTreeBytesMax)
      return Unfit(path, absl::StrCat("more than ", kTreeBytesMax, " bytes in the volume"));
    tree_.entries.push_back(std::move(entry));
    return absl::OkStatus();
  }

  const dev_t device_;
  VolumeTree tree_;
};

}  // namespace

absl::StatusOr<VolumeTree> ReadVolumeTree(int directory) {
  struct stat info {};
  if (::fstat(directory, &info) != 0) return ErrnoStatus(errno, "looking at the volume");
  Reader reader(info.st_dev);
  RETURN_IF_ERROR(reader.ReadDirectory(directory, "", info, 0));
  return reader.Take();
}

}  // namespace kata::virtcontainers
