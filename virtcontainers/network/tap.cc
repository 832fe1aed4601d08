// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/network/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include <climits>
#include <cstring>

#include <absl/strings/strip.h>

namespace kata::virtcontainers {
namespace {

constexpr char kTunDevice[] = "/dev/net/tun";
constexpr char kOwnerMark[] = "kata-containers sandbox ";
// A pod may have taken the name for itself.
constexpr int kNamesMax = 16;

// libvirt takes a device for a macvtap when there is a /dev/tapN of its number N, and opens that, whosever it is: it
// may be of another namespace, which counts from 1 as well. So a tap gets a number that nobody comes to by counting.
constexpr uint32_t kIndexMin = 1U << 24;
constexpr uint32_t kIndexMax = INT_MAX;
constexpr int kIndexTriesMax = 16;

using Link = std::unique_ptr<rtnl_link, NetlinkFree<rtnl_link_put>>;

absl::StatusOr<uint32_t> FreeIndex() {
  for (int i = 0; i < kIndexTriesMax; ++i) {
    uint32_t index = 0;
    if (::getrandom(&index, sizeof(index), 0) != sizeof(index)) return ErrnoStatus(errno, "choosing a tap's number");
    index = kIndexMin + index % (kIndexMax - kIndexMin);
    if (::access(absl::StrCat("/dev/tap", index).c_str(), F_OK) != 0) return index;
  }
  return absl::ResourceExhaustedError("choosing a tap's number: each has a device of another already");
}

absl::StatusOr<UniqueFd> OpenTap(const std::string& name) {
  ASSIGN_OR_RETURN(const uint32_t index, FreeIndex());
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

// The namespace's kernel is to say nothing on it: what it sends reaches the guest.
absl::Status Silence(const std::string& name) {
  const std::string path = absl::StrCat("/proc/sys/net/ipv6/conf/", name, "/disable_ipv6");
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid())
    return errno == ENOENT ? absl::OkStatus() : ErrnoStatus(errno, absl::StrCat("opening \"", path, "\""));
  return ::write(fd.get(), "1", 1) == 1 ? absl::OkStatus() : ErrnoStatus(errno, absl::StrCat("writing \"", path, "\""));
}

}  // namespace

absl::StatusOr<Tap> MakeTap(nl_sock* socket, const PodInterface& interface, const std::string& owner) {
  Tap tap;
  for (int number = 0;; ++number) {
    tap.name = absl::StrCat("kata", interface.index, number == 0 ? "" : absl::StrCat("-", number));
    absl::StatusOr<UniqueFd> fd = OpenTap(tap.name);
    if (fd.ok()) {
      tap.fd = std::move(*fd);
      break;
    }
    const bool is_taken = if_nametoindex(tap.name.c_str()) != 0;
    if (!is_taken || number + 1 == kNamesMax) return fd.status();
  }
  tap.index = static_cast<int>(if_nametoindex(tap.name.c_str()));
  RETURN_IF_ERROR(Silence(tap.name));
  const Link change(rtnl_link_alloc());
  if (change == nullptr) return absl::ResourceExhaustedError("setting up a tap: out of memory");
  rtnl_link_set_ifindex(change.get(), tap.index);
  rtnl_link_set_mtu(change.get(), interface.mtu);
  rtnl_link_set_ifalias(change.get(), absl::StrCat(kOwnerMark, owner).c_str());
  rtnl_link_set_flags(change.get(), IFF_UP);
  const Link original(rtnl_link_alloc());
  if (original == nullptr) return absl::ResourceExhaustedError("setting up a tap: out of memory");
  rtnl_link_set_ifindex(original.get(), tap.index);
  RETURN_IF_ERROR(NetlinkStatus(rtnl_link_change(socket, original.get(), change.get(), 0),
                                absl::StrCat("setting up tap \"", tap.name, "\"")));
  return tap;
}

std::string OwnerOf(rtnl_link* link) {
  const char* alias = rtnl_link_get_ifalias(link);
  absl::string_view owner = alias != nullptr ? alias : "";
  return absl::ConsumePrefix(&owner, kOwnerMark) ? std::string(owner) : "";
}

}  // namespace kata::virtcontainers
