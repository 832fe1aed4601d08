// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/capability_cache.h"

#include <filesystem>

#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::hypervisors {
namespace {

namespace fs = std::filesystem;

constexpr size_t kFileMax = 4u << 20;
constexpr int kFilesMax = 32;

std::string DirectoryBelow(const std::string& libvirt_root) { return libvirt_root + "/cache/qemu/capabilities"; }

absl::StatusOr<int> CopyChanged(const std::string& from, const std::string& to) {
  int count = 0;
  std::error_code ec;
  for (fs::directory_iterator it(from, ec), end; !ec && it != end; it.increment(ec)) {
    if (it->path().extension() != ".xml") continue;
    if (++count > kFilesMax) return absl::ResourceExhaustedError(absl::StrCat("too many files in \"", from, "\""));
    ASSIGN_OR_RETURN(const std::string data, ReadFile(it->path().string(), kFileMax));
    const std::string target = to + "/" + it->path().filename().string();
    absl::StatusOr<std::string> present = ReadFile(target, kFileMax);
    if (present.ok() && *present == data) continue;
    RETURN_IF_ERROR(WriteFileAtomically(target, data, 0600));
  }
  return count;
}

}  // namespace

absl::StatusOr<int> SeedCapabilities(const std::string& cache_dir, const std::string& libvirt_root) {
  RETURN_IF_ERROR(MakeDirs(cache_dir, 0700));
  RETURN_IF_ERROR(MakeDirs(DirectoryBelow(libvirt_root), 0755));
  return CopyChanged(cache_dir, DirectoryBelow(libvirt_root));
}

absl::Status StoreCapabilities(const std::string& cache_dir, const std::string& libvirt_root) {
  RETURN_IF_ERROR(MakeDirs(cache_dir, 0700));
  return CopyChanged(DirectoryBelow(libvirt_root), cache_dir).status();
}

}  // namespace kata::hypervisors
