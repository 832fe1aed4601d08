// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/storage/loop_device.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

constexpr int kTries = 100;  // another may take the free device first

}  // namespace

absl::StatusOr<UniqueFd> AttachLoopDevice(const std::string& image, const LoopOptions& options, std::string& device) {
  const std::string what = absl::StrCat("attaching \"", image, "\" to a loop device");
  const int mode = options.is_read_only ? O_RDONLY : O_RDWR;
  const UniqueFd file(::open(image.c_str(), mode | O_CLOEXEC));
  const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!file.valid() || !control.valid()) return ErrnoStatus(errno, what);
  loop_config config{};
  config.fd = static_cast<__u32>(file.get());
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
  if (options.is_read_only) config.info.lo_flags |= LO_FLAGS_READ_ONLY;
  if (options.is_direct) config.info.lo_flags |= LO_FLAGS_DIRECT_IO;
  // Shown by losetup; zero at its end.
  std::memcpy(config.info.lo_file_name, image.data(), std::min(image.size(), size_t{LO_NAME_SIZE - 1}));
  for (int i = 0; i < kTries; ++i) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return ErrnoStatus(errno, what);
    device = absl::StrCat("/dev/loop", number);
    UniqueFd loop(::open(device.c_str(), mode | O_CLOEXEC));
    if (!loop.valid()) return ErrnoStatus(errno, absl::StrCat(what, " \"", device, "\""));
    if (::ioctl(loop.get(), LOOP_CONFIGURE, &config) == 0) return loop;
    if (errno != EBUSY) return ErrnoStatus(errno, what);
  }
  return absl::ResourceExhaustedError(absl::StrCat(what, ": others take each free one first"));
}

}  // namespace kata::virtcontainers
