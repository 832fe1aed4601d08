// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/network/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstring>

#include "virtcontainers/network/tap_link.h"

namespace kata::virtcontainers {
namespace {

constexpr char kTunDevice[] = "/dev/net/tun";

absl::StatusOr<UniqueFd> OpenTap(const std::string& name) {
  ASSIGN_OR_RETURN(const uint32_t index, FreeTapIndex());
  UniqueFd fd(::open(kTunDevice, O_RDWR | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("opening \"", kTunDevice, "\""));
  if (::ioctl(fd.get(), TUNSETIFINDEX, &index) != 0)
    return ErrnoStatus(errno, absl::StrCat("numbering tap \"", name, "\""));
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  // Several queues, so that the machine can open it as well; exclusive, so that it is nobody else's.
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE | IFF_TUN_EXCL);
  if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) return ErrnoStatus(errno, absl::StrCat("making tap \"", name, "\""));
  return fd;
}

}  // namespace

absl::StatusOr<Tap> MakeTap(nl_sock* socket, const PodInterface& interface, const std::string& owner) {
  Tap tap;
  for (int number = 0;; ++number) {
    tap.name = TapName(interface, number);
    absl::StatusOr<UniqueFd> fd = OpenTap(tap.name);
    if (fd.ok()) {
      tap.fd = std::move(*fd);
      break;
    }
    const bool is_taken = if_nametoindex(tap.name.c_str()) != 0;
    if (!is_taken || number + 1 == kTapNamesMax) return fd.status();
  }
  tap.index = static_cast<int>(if_nametoindex(tap.name.c_str()));
  RETURN_IF_ERROR(SetUpTap(socket, tap.index, tap.name, interface, owner));
  return tap;
}

}  // namespace kata::virtcontainers
