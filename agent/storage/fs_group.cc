// SPDX-License-Identifier: Apache-2.0
#include "agent/storage/fs_group.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include <absl/strings/str_cat.h>

#include "agent/base/errors.h"
#include "proto/base/fd.h"

namespace kata::agent {
namespace {

constexpr int kDirectoriesOpen = 32;
constexpr mode_t kFileRights = S_IRGRP | S_IWGRP;
constexpr mode_t kDirectoryRights = kFileRights | S_IXGRP | S_ISGID;

gid_t g_group = 0;  // nftw hands nothing on to what it calls

mode_t RightsOf(const struct stat& info) { return S_ISDIR(info.st_mode) ? kDirectoryRights : kFileRights; }

int ChangeOne(const char* path, const struct stat*, int, struct FTW*) {
  // What is looked at is what is changed, whatever others do there at the same time.
  const UniqueFd file(::open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat info {};
  if (!file.valid()) return errno == ENOENT ? 0 : errno;
  if (::fstat(file.get(), &info) != 0 ||
      ::fchownat(file.get(), "", static_cast<uid_t>(-1), g_group, AT_EMPTY_PATH) != 0)
    return errno;
  if (S_ISLNK(info.st_mode)) return 0;
  const std::string place = absl::StrCat("/proc/self/fd/", file.get());
  // A change of group takes set-user-ID bits away, which were there before.
  return ::chmod(place.c_str(), (info.st_mode & 07777) | RightsOf(info)) == 0 ? 0 : errno;
}

struct Ended {
  explicit Ended(const asio::any_io_executor& executor) : latch(executor) {}
  Latch latch;
  int status = 0;
};

}  // namespace

int ApplyGroup(const std::string& directory, const v1::FsGroup& group) {
  struct stat info {};
  if (::lstat(directory.c_str(), &info) != 0) return errno;
  const mode_t rights = RightsOf(info);
  if (!group.is_always() && info.st_gid == group.gid() && (info.st_mode & rights) == rights) return 0;
  g_group = group.gid();
  // The root last: one that was not finished is begun anew.
  const int result = ::nftw(directory.c_str(), &ChangeOne, kDirectoriesOpen, FTW_PHYS | FTW_MOUNT | FTW_DEPTH);
  return result < 0 ? errno : result;
}

Co<absl::Status> GiveToGroup(std::string directory, v1::FsGroup group, ExitTable* exits) {
  const std::string what = absl::StrCat("giving \"", directory, "\" to group ", group.gid());
  auto ended = std::make_shared<Ended>(co_await asio::this_coro::executor);
  const pid_t pid = ::fork();
  if (pid < 0) co_return SystemError(errno, what);
  if (pid == 0) ::_exit(ApplyGroup(directory, group));
  exits->Register(pid, [ended](int status) {
    ended->status = status;
    ended->latch.Set();
  });
  const bool is_in_time = co_await ended->latch.WaitFor(kGroupTimeout);
  if (!is_in_time) {
    ::kill(pid, SIGKILL);
    co_await ended->latch.Wait();
    co_return absl::DeadlineExceededError(
        absl::StrCat(what, ": it has too many files for ", kGroupTimeout.count(), " s"));
  }
  if (ended->status != 0) co_return SystemError(ended->status, what);
  co_return absl::OkStatus();
}

}  // namespace kata::agent
