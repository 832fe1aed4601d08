// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/devices/disk_ways.h"

#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>

#include "proto/base/fd.h"
#include "proto/base/log.h"

namespace kata::virtcontainers {
namespace {

using hypervisors::DiskAio;
using hypervisors::DiskCache;

constexpr size_t kSettingSizeMax = 64;

DiskCache CacheOf(const Config& config) {
  if (!config.block_device_cache_set) return DiskCache::kDefault;
  if (config.block_device_cache_direct) return DiskCache::kDirect;
  return config.block_device_cache_noflush ? DiskCache::kUnsafe : DiskCache::kWriteBack;
}

}  // namespace

std::string WhyNoIoUring(const std::string& setting) {
  auto text = ReadFile(setting, kSettingSizeMax);
  // 1: for those without CAP_SYS_ADMIN, as the machine's process is; 2: for all.
  if (text.ok() && absl::StripAsciiWhitespace(*text) != "0")
    return absl::StrCat("kernel.io_uring_disabled is ", absl::StripAsciiWhitespace(*text));
  io_uring_params settings{};
  const UniqueFd ring(static_cast<int>(::syscall(SYS_io_uring_setup, 1, &settings)));
  return ring.valid() ? "" : absl::AsciiStrToLower(std::strerror(errno));
}

hypervisors::DiskWays DiskWaysOf(const Config& config) {
  hypervisors::DiskWays ways;
  ways.cache = CacheOf(config);
  ways.aio = config.block_device_aio;
  ways.is_on_scsi = config.is_disk_on_scsi;
  if (ways.aio != DiskAio::kIoUring) return ways;
  const std::string why_not = WhyNoIoUring();
  if (why_not.empty()) return ways;
  log::Warn("block_device_aio = \"io_uring\": the host has none ({}), \"threads\" is used", why_not);
  ways.aio = DiskAio::kThreads;
  return ways;
}

}  // namespace kata::virtcontainers
