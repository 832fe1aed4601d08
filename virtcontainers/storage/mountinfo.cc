// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/storage/mountinfo.h"

#include <libmount.h>
#include <sys/sysmacros.h>

#include <memory>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

std::string Text(const char* text) { return text != nullptr ? text : ""; }

}  // namespace

absl::StatusOr<std::vector<MountEntry>> ReadMountinfo(const std::string& path) {
  const std::unique_ptr<libmnt_table, decltype(&mnt_unref_table)> table(mnt_new_table(), mnt_unref_table);
  const std::unique_ptr<libmnt_iter, decltype(&mnt_free_iter)> at(mnt_new_iter(MNT_ITER_FORWARD), mnt_free_iter);
  const int error = table && at ? mnt_table_parse_file(table.get(), path.c_str()) : -ENOMEM;
  if (error != 0) return ErrnoStatus(error < 0 ? -error : EINVAL, absl::StrCat("reading \"", path, "\""));
  std::vector<MountEntry> out;
  libmnt_fs* line = nullptr;
  while (mnt_table_next_fs(table.get(), at.get(), &line) == 0) {
    MountEntry entry;
    entry.id = static_cast<uint64_t>(mnt_fs_get_id(line));
    const dev_t device = mnt_fs_get_devno(line);
    entry.device = absl::StrCat(major(device), ":", minor(device));
    entry.root = Text(mnt_fs_get_root(line));
    entry.place = Text(mnt_fs_get_target(line));
    entry.type = Text(mnt_fs_get_fstype(line));
    entry.source = Text(mnt_fs_get_source(line));
    entry.options = Text(mnt_fs_get_vfs_options(line));
    entry.super_options = Text(mnt_fs_get_fs_options(line));
    entry.is_read_only = entry.options == "ro" || absl::StartsWith(entry.options, "ro,");
    out.push_back(std::move(entry));
  }
  return out;
}

// Of the thread: /proc/self is the first thread's, which may be in another namespace.
absl::StatusOr<std::vector<MountEntry>> Mounts() { return ReadMountinfo("/proc/thread-self/mountinfo"); }

}  // namespace kata::virtcontainers
