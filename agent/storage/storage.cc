// SPDX-License-Identifier: Apache-2.0
#include "agent/storage/storage.h"

#include <dirent.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include "agent/base/errors.h"
#include "agent/storage/fs_group.h"
#include "agent/storage/scratch.h"
#include "proto/base/fd.h"
#include "proto/base/log.h"
#include "proto/base/mount_options.h"
#include "proto/base/status.h"

namespace kata::agent {
namespace {

constexpr char kDiskDriver[] = "blk";
constexpr char kScratchDriver[] = "scratch";
constexpr char kXfs[] = "xfs";
constexpr char kSameUuid[] = "nouuid";
constexpr char kMemoryType[] = "tmpfs";
constexpr size_t kSerialSizeMax = 64;
constexpr char kShareType[] = "virtiofs";
constexpr char kShareReadAheadKib[] = "1024";  // the largest request there is
// In case that an event was missed.
constexpr std::chrono::milliseconds kDiskPoll{500};

// What is read in order is asked for in few large requests instead of many small ones. No error: without it all works.
void SetReadAhead(const std::string& mount_point) {
  struct stat info {};
  if (::stat(mount_point.c_str(), &info) != 0) return;
  const std::string path =
      absl::StrCat("/sys/class/bdi/", major(info.st_dev), ":", minor(info.st_dev), "/read_ahead_kb");
  const absl::Status set = WriteExisting(path, kShareReadAheadKib);
  if (!set.ok()) log::Warn("setting the share's read-ahead: {}", set.message());
}

absl::Status Mount(const v1::Storage& storage, const std::string& source) {
  RETURN_IF_ERROR(MakeDirs(storage.mount_point(), 0755));
  const MountOptions options = ParseMountOptions({storage.options().begin(), storage.options().end()});
  const std::string data = options.Data();
  const unsigned long bind = options.is_bind ? MS_BIND | (options.is_recursive_bind ? MS_REC : 0) : 0;
  const auto mount = [&storage, &source, &options, bind](const std::string& words) {
    return ::mount(source.c_str(), storage.mount_point().c_str(), storage.fstype().c_str(), options.flags | bind,
                   words.empty() ? nullptr : words.c_str());
  };
  bool is_mounted = mount(data) == 0;
  // A copy of a disk, or a snapshot of it, has its UUID; the two are different disks here, whatever they say.
  if (!is_mounted && errno == EINVAL && storage.fstype() == kXfs)
    is_mounted = mount(absl::StrCat(data, data.empty() ? "" : ",", kSameUuid)) == 0;
  if (!is_mounted) {
    return SystemError(errno, absl::StrCat("mounting ", storage.fstype(), " \"", storage.source(), "\" at \"",
                                           storage.mount_point(), "\""));
  }
  if (storage.fstype() == kShareType) SetReadAhead(storage.mount_point());
  return absl::OkStatus();
}

absl::Status CheckMountPoint(const v1::Storage& storage) {
  if (absl::StartsWith(storage.mount_point(), "/")) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("storage at \"", storage.mount_point(), "\": not absolute"));
}

Co<absl::Status> MountWhenThere(v1::Storage storage, Uevents* events, ExitTable* exits) {
  if (storage.driver().empty()) co_return MountStorage(storage);
  CO_RETURN_IF_ERROR(CheckMountPoint(storage));
  if (storage.driver() != kDiskDriver && storage.driver() != kScratchDriver) {
    co_return absl::InvalidArgumentError(
        absl::StrCat("storage at \"", storage.mount_point(), "\": driver \"", storage.driver(), "\" is not known"));
  }
  if (storage.driver() == kScratchDriver && storage.source().empty()) co_return MountScratch(storage, kMemoryType);
  auto disk = co_await WaitForDisk(storage.source(), events);
  if (!disk.ok()) co_return Annotate(disk.status(), absl::StrCat("storage at \"", storage.mount_point(), "\""));
  if (storage.driver() == kScratchDriver) co_return MountScratch(storage, *disk);
  CO_RETURN_IF_ERROR(Mount(storage, *disk));
  if (!storage.has_fs_group()) co_return absl::OkStatus();
  absl::Status given = co_await GiveToGroup(storage.mount_point(), storage.fs_group(), exits);
  if (!given.ok()) UnmountStorages({storage.mount_point()}).IgnoreError();
  co_return given;
}

}  // namespace

namespace {

// virtio-blk's has a file of its own, SCSI's stands in a page of its vital data, behind four bytes.
bool HasSerial(const std::string& disk, const std::string& serial) {
  auto text = ReadFile(disk + "/serial", kSerialSizeMax);
  if (text.ok() && absl::StripAsciiWhitespace(*text) == serial) return true;
  constexpr size_t kPageHeader = 4;
  auto page = ReadFile(disk + "/device/vpd_pg80", kSerialSizeMax);
  return page.ok() && page->size() > kPageHeader && absl::StripAsciiWhitespace(page->substr(kPageHeader)) == serial;
}

}  // namespace

absl::StatusOr<std::string> FindDisk(const std::string& sys_block, const std::string& serial) {
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(sys_block.c_str()), ::closedir);
  if (dir == nullptr) return SystemError(errno, absl::StrCat("opening \"", sys_block, "\""));
  while (dirent* entry = ::readdir(dir.get())) {
    if (entry->d_name[0] == '.') continue;
    if (HasSerial(absl::StrCat(sys_block, "/", entry->d_name), serial)) return absl::StrCat("/dev/", entry->d_name);
  }
  return absl::NotFoundError(absl::StrCat("disk \"", serial, "\": not there"));
}

Co<absl::StatusOr<std::string>> WaitForDisk(std::string serial, Uevents* events) {
  // Each disk without a serial would answer to it.
  if (serial.empty()) co_return absl::InvalidArgumentError("a disk without a serial cannot be named");
  const auto until = std::chrono::steady_clock::now() + kDiskTimeout;
  for (;;) {
    absl::StatusOr<std::string> disk = FindDisk(kSysBlock, serial);
    if (disk.ok() || !absl::IsNotFound(disk.status())) co_return disk;
    if (std::chrono::steady_clock::now() >= until) {
      co_return absl::DeadlineExceededError(
          absl::StrCat("waiting for disk \"", serial, "\": it did not come in ", kDiskTimeout.count(), " s"));
    }
    co_await events->WaitFor(kDiskPoll);
  }
}

absl::Status MountStorage(const v1::Storage& storage) {
  RETURN_IF_ERROR(CheckMountPoint(storage));
  return Mount(storage, storage.source());
}

Co<absl::StatusOr<std::vector<std::string>>> MountStorages(Storages storages, Uevents* events, ExitTable* exits) {
  std::vector<std::string> mounted;
  if (storages.size() > kStoragesMax) {
    co_return absl::ResourceExhaustedError(absl::StrCat(storages.size(), " storages: at most ", kStoragesMax));
  }
  for (int i = 0; i < storages.size(); ++i) {
    v1::Storage storage = storages.Get(i);
    std::vector<std::string> mount_points;
    if (storage.driver() == kScratchDriver) mount_points.push_back(ScratchDiskPoint(storage));
    mount_points.push_back(storage.mount_point());
    absl::Status status = co_await MountWhenThere(std::move(storage), events, exits);
    if (!status.ok()) {
      const absl::Status undone = UnmountStorages(mounted);
      if (!undone.ok()) log::Warn("undoing storages: {}", undone.message());
      co_return status;
    }
    mounted.insert(mounted.end(), mount_points.begin(), mount_points.end());
  }
  co_return mounted;
}

absl::Status UnmountStorages(const std::vector<std::string>& mount_points) {
  absl::Status status;
  for (auto at = mount_points.rbegin(); at != mount_points.rend(); ++at) {
    // Not lazily: a disk that is still in use must not be taken for one that may be unplugged.
    if (::umount2(at->c_str(), UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT) {
      ::rmdir(at->c_str());  // a pod may live long and have many
      continue;
    }
    status.Update(SystemError(errno, absl::StrCat("unmounting \"", *at, "\"")));
  }
  return status;
}

}  // namespace kata::agent
