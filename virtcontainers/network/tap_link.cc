// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/network/tap_link.h"

#include <fcntl.h>
#include <net/if.h>
#include <sys/random.h>
#include <unistd.h>

#include <climits>

#include <absl/strings/strip.h>

#include "proto/base/fd.h"

namespace kata::virtcontainers {
namespace {

// Its alias says whose it is: this and the sandbox's id.
constexpr char kOwnerMark[] = "kata-containers sandbox ";

// libvirt takes a device for a macvtap when there is a /dev/tapN of its number N, and opens that, whosever it is: it
// may be of another namespace, which counts from 1 as well. So a tap gets a number that nobody comes to by counting.
constexpr uint32_t kIndexMin = 1U << 24;
constexpr uint32_t kIndexMax = INT_MAX;
constexpr int kIndexTriesMax = 16;

using Link = std::unique_ptr<rtnl_link, NetlinkFree<rtnl_link_put>>;

// What it sends reaches the guest.
absl::Status Silence(const std::string& name) {
  const std::string path = absl::StrCat("/proc/sys/net/ipv6/conf/", name, "/disable_ipv6");
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid())
    return errno == ENOENT ? absl::OkStatus() : ErrnoStatus(errno, absl::StrCat("opening \"", path, "\""));
  return ::write(fd.get(), "1", 1) == 1 ? absl::OkStatus() : ErrnoStatus(errno, absl::StrCat("writing \"", path, "\""));
}

}  // namespace

std::string TapName(const PodInterface& interface, int number) {
  return absl::StrCat("kata", interface.index, number == 0 ? "" : absl::StrCat("-", number));
}

absl::StatusOr<uint32_t> FreeTapIndex() {
  for (int i = 0; i < kIndexTriesMax; ++i) {
    uint32_t index = 0;
    if (::getrandom(&index, sizeof(index), 0) != sizeof(index)) return ErrnoStatus(errno, "choosing a tap's number");
    index = kIndexMin + index % (kIndexMax - kIndexMin);
    if (::access(absl::StrCat("/dev/tap", index).c_str(), F_OK) != 0) return index;
  }
  return absl::ResourceExhaustedError("choosing a tap's number: each has a device of another already");
}

absl::Status SetUpTap(nl_sock* socket, int index, const std::string& name, const PodInterface& interface,
                      const std::string& owner) {
  RETURN_IF_ERROR(Silence(name));
  const Link change(rtnl_link_alloc());
  const Link original(rtnl_link_alloc());
  if (change == nullptr || original == nullptr) return absl::ResourceExhaustedError("setting up a tap: out of memory");
  rtnl_link_set_ifindex(change.get(), index);
  rtnl_link_set_mtu(change.get(), interface.mtu);
  rtnl_link_set_ifalias(change.get(), absl::StrCat(kOwnerMark, owner).c_str());
  rtnl_link_set_flags(change.get(), IFF_UP);
  rtnl_link_set_ifindex(original.get(), index);
  return NetlinkStatus(rtnl_link_change(socket, original.get(), change.get(), 0),
                       absl::StrCat("setting up tap \"", name, "\""));
}

std::string OwnerOf(rtnl_link* link) {
  const char* alias = rtnl_link_get_ifalias(link);
  absl::string_view owner = alias != nullptr ? alias : "";
  return absl::ConsumePrefix(&owner, kOwnerMark) ? std::string(owner) : "";
}

}  // namespace kata::virtcontainers
