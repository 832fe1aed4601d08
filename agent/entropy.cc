// SPDX-License-Identifier: Apache-2.0
#include "agent/entropy.h"

#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <vector>

#include <absl/strings/str_cat.h>

#include "agent/base/errors.h"
#include "proto/base/fd.h"

namespace kata::agent {

absl::Status StirEntropy(const std::string& entropy) {
  if (entropy.size() < kEntropySizeMin || entropy.size() > kEntropySizeMax) {
    return absl::InvalidArgumentError(absl::StrCat("entropy of ", entropy.size(), " bytes: ", kEntropySizeMin, " to ",
                                                   kEntropySizeMax, " are wanted"));
  }
  UniqueFd fd(::open("/dev/urandom", O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return SystemError(errno, "opening \"/dev/urandom\"");
  // struct rand_pool_info: bits, size, then the bytes.
  std::vector<int> info(2 + (entropy.size() + sizeof(int) - 1) / sizeof(int));
  info[0] = static_cast<int>(entropy.size() * 8);
  info[1] = static_cast<int>(entropy.size());
  entropy.copy(reinterpret_cast<char*>(&info[2]), entropy.size());
  if (::ioctl(fd.get(), RNDADDENTROPY, info.data()) != 0) return SystemError(errno, "adding entropy");
  if (::ioctl(fd.get(), RNDRESEEDCRNG) != 0) return SystemError(errno, "making the kernel's keys anew");
  return absl::OkStatus();
}

}  // namespace kata::agent
