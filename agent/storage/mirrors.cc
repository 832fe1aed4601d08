// SPDX-License-Identifier: Apache-2.0
#include "agent/storage/mirrors.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include <absl/strings/str_split.h>

#include "agent/base/errors.h"
#include "proto/base/fd.h"

namespace kata::agent {
namespace {

// As the kubelet names a link that is about to take another's place.
constexpr char kNext[] = "_tmp";
constexpr int kDepthMax = 16;

struct Node {
  const v1::MirrorEntry* entry = nullptr;
  std::map<std::string, Node> children;

  mode_t type() const { return entry->mode() & S_IFMT; }
};

bool IsGoodName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.size() <= NAME_MAX &&
         name.find('\0') == std::string::npos;
}

absl::Status AddTo(Node& root, const v1::MirrorEntry& entry) {
  const absl::Status bad = absl::InvalidArgumentError(absl::StrCat("mirror: \"", entry.path(), "\": out of place"));
  const mode_t type = entry.mode() & S_IFMT;
  if (type != S_IFDIR && type != S_IFREG && type != S_IFLNK) return bad;
  if (entry.path().empty()) {
    if (root.entry != nullptr || type != S_IFDIR) return bad;
    root.entry = &entry;
    return absl::OkStatus();
  }
  Node* at = &root;
  const std::vector<std::string> names = absl::StrSplit(entry.path(), '/');
  if (names.size() > kDepthMax + 1) return bad;
  for (size_t i = 0; i < names.size(); ++i) {
    if (at->entry == nullptr || at->type() != S_IFDIR || !IsGoodName(names[i])) return bad;
    const bool is_last = i + 1 == names.size();
    if (is_last == at->children.contains(names[i])) return bad;
    at = &at->children[names[i]];
  }
  at->entry = &entry;
  return absl::OkStatus();
}

absl::StatusOr<Node> TreeOf(const v1::SetMirrorRequest& request) {
  if (request.entries_size() > kMirrorEntriesMax)
    return absl::InvalidArgumentError(absl::StrCat("mirror: more than ", kMirrorEntriesMax, " entries"));
  Node root;
  for (const v1::MirrorEntry& entry : request.entries()) RETURN_IF_ERROR(AddTo(root, entry));
  if (root.entry == nullptr) return absl::InvalidArgumentError("mirror: it has no directory");
  return root;
}

absl::Status Failed(absl::string_view doing, const std::string& name) {
  return SystemError(errno, absl::StrCat("mirror: ", doing, " \"", name, "\""));
}

timespec TimeOf(const v1::MirrorEntry& entry) {
  constexpr int64_t kSecond = 1'000'000'000;
  timespec time{};
  time.tv_sec = entry.mtime_ns() / kSecond;
  time.tv_nsec = entry.mtime_ns() % kSecond;
  if (time.tv_nsec < 0) {
    --time.tv_sec;
    time.tv_nsec += kSecond;
  }
  return time;
}

// Only what is different: a change of an attribute is one that watchers are told of. `fd` is of the file itself.
absl::Status SetAttributes(int fd, const v1::MirrorEntry& entry) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return Failed("looking at", entry.path());
  // The owner first: a change of owner may take bits of the mode.
  const bool is_given = info.st_uid != entry.uid() || info.st_gid != entry.gid();
  if (is_given && ::fchown(fd, entry.uid(), entry.gid()) != 0) return Failed("giving away", entry.path());
  const mode_t mode = entry.mode() & 07777u;
  if ((is_given || (info.st_mode & 07777u) != mode) && ::fchmod(fd, mode) != 0)
    return Failed("changing the mode of", entry.path());
  const timespec time = TimeOf(entry);
  if (info.st_mtim.tv_sec == time.tv_sec && info.st_mtim.tv_nsec == time.tv_nsec) return absl::OkStatus();
  const timespec times[] = {{0, UTIME_OMIT}, time};
  if (::futimens(fd, times) != 0) return Failed("setting the time of", entry.path());
  return absl::OkStatus();
}

absl::Status WriteFile(int parent, const std::string& name, const v1::MirrorEntry& entry) {
  UniqueFd fd(::openat(parent, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid()) return Failed("making", entry.path());
  RETURN_IF_ERROR(Annotate(WriteAll(fd.get(), entry.content()), absl::StrCat("mirror: \"", entry.path(), "\"")));
  return SetAttributes(fd.get(), entry);
}

absl::Status MakeLink(int parent, const std::string& name, const v1::MirrorEntry& entry) {
  if (::symlinkat(entry.content().c_str(), parent, name.c_str()) != 0) return Failed("making", entry.path());
  const timespec times[] = {{0, UTIME_OMIT}, TimeOf(entry)};
  if (::fchownat(parent, name.c_str(), entry.uid(), entry.gid(), AT_SYMLINK_NOFOLLOW) != 0 ||
      ::utimensat(parent, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
    return Failed("giving away", entry.path());
  }
  return absl::OkStatus();
}

bool HasContent(int parent, const std::string& name, const struct stat& info, const v1::MirrorEntry& entry) {
  const std::string& content = entry.content();
  if (info.st_size < 0 || static_cast<size_t>(info.st_size) != content.size()) return false;
  if (S_ISLNK(info.st_mode)) {
    std::string target(content.size() + 1, '\0');
    const ssize_t size = ::readlinkat(parent, name.c_str(), target.data(), target.size());
    return size >= 0 && std::string_view(target).substr(0, static_cast<size_t>(size)) == content;
  }
  const UniqueFd fd(::openat(parent, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return false;
  auto there = ReadAll(fd.get(), content.size());
  return there.ok() && *there == content;
}

absl::StatusOr<std::vector<std::string>> NamesIn(int directory) {
  UniqueFd own(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::unique_ptr<DIR, int (*)(DIR*)> dir(own.valid() ? ::fdopendir(own.get()) : nullptr, ::closedir);
  if (dir == nullptr) return SystemError(errno, "mirror: reading a directory");
  own.release();  // the stream has it
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (IsGoodName(entry->d_name)) names.push_back(entry->d_name);
  }
  return names;
}

UniqueFd OpenDirectory(int parent, const std::string& name) {
  return UniqueFd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// Whatever it is.
absl::Status Remove(int parent, const std::string& name) {
  if (::unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return absl::OkStatus();
  if (errno != EISDIR && errno != EPERM) return Failed("removing", name);
  const UniqueFd directory = OpenDirectory(parent, name);
  if (!directory.valid()) return Failed("removing", name);
  ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(directory.get()));
  for (const std::string& child : names) RETURN_IF_ERROR(Remove(directory.get(), child));
  return ::unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 ? absl::OkStatus() : Failed("removing", name);
}

// A file or a link that is to be as `entry` says.
absl::Status Place(int parent, const std::string& name, const v1::MirrorEntry& entry) {
  struct stat info {};
  const bool is_there = ::fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
  const bool is_link = S_ISLNK(entry.mode());
  if (is_there && (info.st_mode & S_IFMT) == (entry.mode() & S_IFMT) && HasContent(parent, name, info, entry)) {
    if (is_link) return absl::OkStatus();
    const UniqueFd fd(::openat(parent, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    return fd.valid() ? SetAttributes(fd.get(), entry) : Failed("opening", entry.path());
  }
  if (is_there && S_ISDIR(info.st_mode)) RETURN_IF_ERROR(Remove(parent, name));
  const bool is_replaced = is_there && !S_ISDIR(info.st_mode);
  const std::string made = is_replaced ? absl::StrCat(name, kNext) : name;
  if (is_replaced) RETURN_IF_ERROR(Remove(parent, made));  // of a try that failed
  RETURN_IF_ERROR(is_link ? MakeLink(parent, made, entry) : WriteFile(parent, made, entry));
  if (is_replaced && ::renameat(parent, made.c_str(), parent, name.c_str()) != 0) return Failed("replacing", name);
  return absl::OkStatus();
}

using Paths = std::set<std::string>;

// `before`: what may go, since the host had it and has it no more.
absl::Status Fill(int directory, const Node& node, const Paths& before);

absl::Status FillChild(int parent, const std::string& name, const Node& node, const Paths& before) {
  if (node.type() != S_IFDIR) return Place(parent, name, *node.entry);
  if (::mkdirat(parent, name.c_str(), 0700) != 0) {
    if (errno != EEXIST) return Failed("making", node.entry->path());
    const UniqueFd there = OpenDirectory(parent, name);
    if (there.valid()) return Fill(there.get(), node, before);
    RETURN_IF_ERROR(Remove(parent, name));
    if (::mkdirat(parent, name.c_str(), 0700) != 0) return Failed("making", node.entry->path());
  }
  const UniqueFd made = OpenDirectory(parent, name);
  return made.valid() ? Fill(made.get(), node, before) : Failed("opening", node.entry->path());
}

absl::Status Fill(int directory, const Node& node, const Paths& before) {
  for (const bool are_links : {false, true}) {
    for (const auto& [name, child] : node.children) {
      if ((child.type() == S_IFLNK) == are_links) RETURN_IF_ERROR(FillChild(directory, name, child, before));
    }
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(directory));
  std::vector<std::string> directories;
  for (const std::string& name : names) {
    const std::string& above = node.entry->path();
    if (node.children.contains(name) || !before.contains(above.empty() ? name : absl::StrCat(above, "/", name)))
      continue;
    struct stat info {};
    if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode)) {
      directories.push_back(name);  // after the links that lead to them
    } else {
      RETURN_IF_ERROR(Remove(directory, name));
    }
  }
  for (const std::string& name : directories) RETURN_IF_ERROR(Remove(directory, name));
  // Last: what is done in a directory changes its time.
  return SetAttributes(directory, *node.entry);
}

}  // namespace

absl::Status Mirrors::Set(const v1::SetMirrorRequest& request) {
  const uint64_t number = request.number();
  auto found = mirrors_.find(number);
  if (found != mirrors_.end() && found->second.version >= request.version()) return absl::OkStatus();
  if (found == mirrors_.end() && mirrors_.size() >= kMirrorsMax)
    return absl::ResourceExhaustedError(absl::StrCat("mirror: there are ", kMirrorsMax));
  ASSIGN_OR_RETURN(const Node root, TreeOf(request));
  const std::string path = absl::StrCat(directory_, "/", number);
  RETURN_IF_ERROR(MakeDirs(path, 0755));
  const UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.valid()) return SystemError(errno, absl::StrCat("opening \"", path, "\""));
  Mirror& mirror = mirrors_[number];
  Paths now;
  for (const v1::MirrorEntry& entry : request.entries()) now.insert(entry.path());
  const Paths before = mirror.paths;
  mirror.paths.insert(now.begin(), now.end());
  RETURN_IF_ERROR(Fill(directory.get(), root, before));
  mirror.paths = std::move(now);
  mirror.version = request.version();
  return absl::OkStatus();
}

}  // namespace kata::agent
