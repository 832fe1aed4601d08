// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/storage/scratch_disk.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <utility>

#include <absl/strings/str_cat.h>

#include "proto/base/child_process.h"
#include "proto/base/process.h"
#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

constexpr char kMaker[] = "/sbin/mke2fs";
constexpr std::chrono::seconds kMakerTimeout{60};
constexpr std::chrono::seconds kEndTimeout{5};
// Where the maker finds the image.
constexpr int kImage = 3;
// Of a file system that is thrown away: no journal, no blocks for root alone, and tables that are written as they are
// used. It takes some 200 KiB at first.
constexpr const char* kMakerWords[] = {"-q", "-F",
                                       "-t", kScratchType,
                                       "-m", "0",
                                       "-O", "^has_journal,^resize_inode",
                                       "-E", "lazy_itable_init=1,packed_meta_blocks=1,nodiscard"};

absl::Status Format(int image) {
  ChildOptions options;
  options.name = "mke2fs";
  options.words = {kMaker};
  options.words.insert(options.words.end(), std::begin(kMakerWords), std::end(kMakerWords));
  options.words.push_back(absl::StrCat("/proc/self/fd/", kImage));
  options.descriptors = {image};
  auto child = StartChild(options);
  if (!child.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat(child.status().message(), "; install e2fsprogs, or set \"rootfs_writes\" to \"share\""));
  }
  siginfo_t end{};
  const bool has_ended = HasEnded(child->pidfd.get(), kMakerTimeout);
  const bool is_good = has_ended && ::waitid(P_PID, static_cast<id_t>(child->pid), &end, WEXITED | WNOWAIT) == 0 &&
                       end.si_code == CLD_EXITED && end.si_status == 0;
  RETURN_IF_ERROR(EndChild(*child, options.name, kEndTimeout));
  if (is_good) return absl::OkStatus();
  return has_ended ? absl::InternalError(absl::StrCat("mke2fs has failed with ", end.si_status))
                   : absl::DeadlineExceededError("mke2fs does not end");
}

}  // namespace

absl::StatusOr<DiskFile> MakeScratchDisk(const std::string& directory, uint64_t size_mib) {
  const std::string what = absl::StrCat("making a disk for a container's writes in \"", directory, "\"");
  const absl::Status made = MakeDirs(directory, 0700);
  if (!made.ok()) return Annotate(made, what);
  UniqueFd file(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!file.valid() && (errno == EOPNOTSUPP || errno == EISDIR)) {
    return absl::FailedPreconditionError(absl::StrCat(
        what, ": its file system has no files without a name; set \"rootfs_disk_path\" to a directory of another one"));
  }
  if (!file.valid() || ::ftruncate(file.get(), static_cast<off_t>(size_mib << 20)) != 0)
    return ErrnoStatus(errno, what);
  const absl::Status formatted = Format(file.get());
  if (!formatted.ok()) return Annotate(formatted, what);
  DiskFile out;
  out.file = std::make_shared<const UniqueFd>(std::move(file));
  out.is_temporary = true;
  return out;
}

}  // namespace kata::virtcontainers
