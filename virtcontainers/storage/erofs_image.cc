// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/storage/erofs_image.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include <absl/strings/str_cat.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

// The superblock, little-endian, and what is looked at of it.
constexpr off_t kSuperblockAt = 1024;
constexpr size_t kSuperblockSize = 128;
constexpr size_t kMagicAt = 0;
constexpr size_t kBlockBitsAt = 12;
constexpr size_t kFeaturesAt = 80;    // those without which it cannot be read
constexpr size_t kAlgorithmsAt = 84;  // with kCompressionSettings
constexpr size_t kFurtherDevicesAt = 86;

constexpr uint8_t kBlockBits = 12;
constexpr uint32_t kCompressionSettings = 0x2;
constexpr uint32_t kKnownFeatures = 0x3f;  // of Linux 6.1
constexpr uint16_t kLz4 = 0x1;

using Superblock = std::array<unsigned char, kSuperblockSize>;

template <typename T>
T At(const Superblock& block, size_t offset) {
  T value{};
  std::memcpy(&value, block.data() + offset, sizeof(value));
  return value;
}
uint32_t Number32(const Superblock& block, size_t offset) { return le32toh(At<uint32_t>(block, offset)); }
uint16_t Number16(const Superblock& block, size_t offset) { return le16toh(At<uint16_t>(block, offset)); }

absl::Status Check(const Superblock& block) {
  if (Number32(block, kMagicAt) != EROFS_SUPER_MAGIC_V1) return absl::InvalidArgumentError("it is no erofs");
  if (At<uint8_t>(block, kBlockBitsAt) != kBlockBits)
    return absl::FailedPreconditionError("its blocks are not of 4 KiB");
  const uint32_t features = Number32(block, kFeaturesAt);
  if ((features & ~kKnownFeatures) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("it has features that are not known (0x", absl::Hex(features & ~kKnownFeatures), ")"));
  }
  if ((features & kCompressionSettings) != 0 && (Number16(block, kAlgorithmsAt) & ~kLz4) != 0)
    return absl::FailedPreconditionError("it is compressed by another way than LZ4");
  if (Number16(block, kFurtherDevicesAt) != 0) return absl::FailedPreconditionError("parts of it are on other devices");
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckErofsImage(const std::string& path) {
  const std::string what = absl::StrCat("looking at image \"", path, "\"");
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) return ErrnoStatus(errno, what);
  Superblock block{};
  const ssize_t size = ::pread(file.get(), block.data(), block.size(), kSuperblockAt);
  if (size < 0) return ErrnoStatus(errno, what);
  if (static_cast<size_t>(size) < block.size())
    return Annotate(absl::InvalidArgumentError("it is too small for an erofs"), what);
  return Annotate(Check(block), what);
}

}  // namespace kata::virtcontainers
