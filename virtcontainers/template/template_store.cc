// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/template/template_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <filesystem>
#include <system_error>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include "proto/base/sha256.h"
#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

namespace fs = std::filesystem;

constexpr char kLockSuffix[] = ".lock";
constexpr char kNewSuffix[] = ".new";
constexpr char kSeenSuffix[] = ".seen";
constexpr char kFailedSuffix[] = ".failed";
constexpr size_t kKeySize = 64;
constexpr size_t kReasonMax = 4096;
constexpr time_t kTryAgainAfter = 600;          // seconds
constexpr time_t kForgetAfter = 7 * 24 * 3600;  // seconds; of what is remembered of shapes without a template

bool IsKey(const std::string& name) {
  return name.size() == kKeySize &&
         std::all_of(name.begin(), name.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsThere(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
}

// Seconds since `path` was written; negative when it is not there.
time_t AgeOf(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return -1;
  return std::max<time_t>(0, ::time(nullptr) - info.st_mtim.tv_sec);
}

absl::Status RemoveAll(const std::string& path) {
  std::error_code ec;
  fs::remove_all(path, ec);
  return ec ? ErrnoStatus(ec.value(), absl::StrCat("removing \"", path, "\"")) : absl::OkStatus();
}

}  // namespace

std::string TemplateStore::KeyOf(const std::string& shape) { return Sha256Hex(shape); }

std::string TemplateStore::DirectoryOf(const std::string& key) const { return absl::StrCat(directory_, "/", key); }

uint64_t TemplateStore::SizeOf(const std::string& directory) {
  uint64_t bytes = 0;
  std::error_code ec;
  for (fs::directory_iterator it(directory, ec), end; !ec && it != end; it.increment(ec)) {
    struct stat info {};
    if (::stat(it->path().c_str(), &info) == 0) bytes += static_cast<uint64_t>(info.st_blocks) * 512;
  }
  return bytes;
}

TemplateStore::Standing TemplateStore::Ask(const std::string& key, bool is_usual) const {
  const std::string directory = DirectoryOf(key);
  // What was used last stays longest. A store that cannot be written to serves nevertheless.
  if (::utimensat(AT_FDCWD, directory.c_str(), nullptr, 0) == 0 || IsThere(directory)) return Standing::kReady;
  const time_t failed = AgeOf(directory + kFailedSuffix);
  if (failed >= 0 && failed < kTryAgainAfter) return Standing::kFailed;
  if (is_usual || IsThere(directory + kSeenSuffix)) return Standing::kWanted;
  if (MakeDirs(directory_, 0700).ok()) WriteFileAtomically(directory + kSeenSuffix, "", 0600).IgnoreError();
  return Standing::kSeenFirst;
}

absl::Status TemplateStore::Prepare() const {
  RETURN_IF_ERROR(MakeDirs(directory_, 0700));
  // Root may write where it may not on a file system that is read-only.
  if (::access((directory_ + "/.").c_str(), W_OK) != 0)
    return ErrnoStatus(errno, absl::StrCat("writing to \"", directory_, "\""));
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> TemplateStore::Lock(const std::string& key) const {
  RETURN_IF_ERROR(Prepare());
  const std::string path = DirectoryOf(key) + kLockSuffix;
  UniqueFd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock.valid()) return ErrnoStatus(errno, absl::StrCat("opening \"", path, "\""));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) return absl::UnavailableError("another process makes this template just now");
  return ErrnoStatus(errno, absl::StrCat("locking \"", path, "\""));
}

absl::StatusOr<std::string> TemplateStore::Begin(const std::string& key) const {
  const std::string fresh = DirectoryOf(key) + kNewSuffix;
  RETURN_IF_ERROR(RemoveAll(fresh));
  if (::mkdir(fresh.c_str(), 0700) != 0) return ErrnoStatus(errno, absl::StrCat("creating \"", fresh, "\""));
  return fresh;
}

absl::Status TemplateStore::Publish(const std::string& key) const {
  const std::string directory = DirectoryOf(key);
  RETURN_IF_ERROR(RemoveAll(directory));
  const std::string fresh = directory + kNewSuffix;
  if (::rename(fresh.c_str(), directory.c_str()) != 0)
    return ErrnoStatus(errno, absl::StrCat("renaming \"", fresh, "\""));
  ::unlink((directory + kFailedSuffix).c_str());
  ::unlink((directory + kSeenSuffix).c_str());
  return absl::OkStatus();
}

void TemplateStore::GiveUp(const std::string& key, const std::string& why) const {
  const std::string directory = DirectoryOf(key);
  RemoveAll(directory + kNewSuffix).IgnoreError();
  // Where even this cannot be written, the next pod has it tried again.
  WriteFileAtomically(directory + kFailedSuffix, why.substr(0, kReasonMax), 0600).IgnoreError();
}

std::vector<std::string> TemplateStore::Unfinished() const {
  std::vector<std::string> out;
  std::error_code ec;
  for (fs::directory_iterator it(directory_, ec), end; !ec && it != end; it.increment(ec)) {
    std::string name = it->path().filename().string();
    if (!absl::EndsWith(name, kNewSuffix)) continue;
    name.resize(name.size() - (sizeof(kNewSuffix) - 1));
    if (IsKey(name)) out.push_back(std::move(name));
  }
  return out;
}

std::string TemplateStore::WhyNot(const std::string& key) const {
  return ReadFile(DirectoryOf(key) + kFailedSuffix, kReasonMax).value_or("");
}

absl::Status TemplateStore::Remove(const std::string& key) const {
  if (!IsKey(key)) return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is no template's name"));
  const std::string directory = DirectoryOf(key);
  for (const char* suffix : {kSeenSuffix, kFailedSuffix}) ::unlink((directory + suffix).c_str());
  return RemoveAll(directory);
}

absl::StatusOr<std::vector<TemplateInfo>> TemplateStore::List() const {
  std::vector<TemplateInfo> out;
  std::error_code ec;
  for (fs::directory_iterator it(directory_, ec), end; !ec && it != end; it.increment(ec)) {
    std::string name = it->path().filename().string();
    const bool has_failed = absl::EndsWith(name, kFailedSuffix);
    if (has_failed) name.resize(name.size() - (sizeof(kFailedSuffix) - 1));
    struct stat info {};
    if (!IsKey(name) || ::stat(it->path().c_str(), &info) != 0) continue;
    TemplateInfo entry;
    entry.key = name;
    entry.used_at = info.st_mtim.tv_sec;
    entry.bytes = has_failed ? 0 : SizeOf(it->path().string());
    if (has_failed) entry.why_not = WhyNot(name);
    out.push_back(std::move(entry));
  }
  if (ec && ec.value() != ENOENT) return ErrnoStatus(ec.value(), absl::StrCat("reading \"", directory_, "\""));
  std::sort(out.begin(), out.end(), [](const TemplateInfo& a, const TemplateInfo& b) { return a.used_at > b.used_at; });
  return out;
}

absl::Status TemplateStore::Prune() const {
  ASSIGN_OR_RETURN(const std::vector<TemplateInfo> all, List());
  size_t count = 0;
  for (const TemplateInfo& entry : all) {
    if (entry.why_not.empty() && ++count > kTemplatesMax) RETURN_IF_ERROR(Remove(entry.key));
  }
  std::error_code ec;
  for (fs::directory_iterator it(directory_, ec), end; !ec && it != end; it.increment(ec)) {
    const std::string path = it->path().string();
    const bool is_word = absl::EndsWith(path, kSeenSuffix) || absl::EndsWith(path, kFailedSuffix);
    if (is_word && AgeOf(path) > kForgetAfter) ::unlink(path.c_str());
  }
  return absl::OkStatus();
}

}  // namespace kata::virtcontainers
