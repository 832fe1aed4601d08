// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/network/macvtap.h"

#include <linux/if_link.h>
#include <netlink/route/link/macvtap.h>
#include <unistd.h>

#include <string_view>

#include "virtcontainers/network/tap_link.h"

namespace kata::virtcontainers {
namespace {

using Link = std::unique_ptr<rtnl_link, NetlinkFree<rtnl_link_put>>;

// The error is libnl's, below 0.
absl::StatusOr<int> Add(nl_sock* socket, const PodInterface& interface, const std::string& name, int index) {
  const Link link(rtnl_link_macvtap_alloc());
  if (link == nullptr) return absl::ResourceExhaustedError("making a macvtap: out of memory");
  rtnl_link_set_ifindex(link.get(), index);
  rtnl_link_set_name(link.get(), name.c_str());
  rtnl_link_set_link(link.get(), interface.index);
  rtnl_link_macvtap_set_mode(link.get(), MACVLAN_MODE_PASSTHRU);
  return rtnl_link_add(socket, link.get(), NLM_F_CREATE | NLM_F_EXCL);
}

absl::Status WhyNot(int error, const std::string& name) {
  const absl::Status status = NetlinkStatus(error, absl::StrCat("making macvtap \"", name, "\""));
  if (error != -NLE_INVAL && error != -NLE_BUSY) return status;
  return absl::FailedPreconditionError(
      absl::StrCat(status.message(), " (it cannot be made for an interface that is a macvlan or has one)"));
}

}  // namespace

absl::StatusOr<Tap> MakeMacvtap(nl_sock* socket, const PodInterface& interface, const std::string& owner) {
  Tap tap;
  for (int number = 0;; ++number) {
    tap.name = TapName(interface, number);
    ASSIGN_OR_RETURN(const uint32_t index, FreeTapIndex());
    tap.index = static_cast<int>(index);
    ASSIGN_OR_RETURN(const int error, Add(socket, interface, tap.name, tap.index));
    if (error >= 0) break;
    if (error != -NLE_EXIST || number + 1 == kTapNamesMax) return WhyNot(error, tap.name);
  }
  absl::Status status = SetUpTap(socket, tap.index, tap.name, interface, owner);
  const std::string device = absl::StrCat("/dev/tap", tap.index);
  // The kernel has made it where /dev is a devtmpfs. Nothing else can say which of the host's devices it is.
  if (status.ok() && ::access(device.c_str(), F_OK) != 0)
    status = ErrnoStatus(errno, absl::StrCat("looking for \"", device, "\" of macvtap \"", tap.name, "\""));
  if (status.ok()) return tap;
  status.Update(RemoveMacvtap(socket, tap.index));
  return status;
}

absl::Status RemoveMacvtap(nl_sock* socket, int index) {
  const Link link(rtnl_link_alloc());
  if (link == nullptr) return absl::ResourceExhaustedError("removing a macvtap: out of memory");
  rtnl_link_set_ifindex(link.get(), index);
  const int error = rtnl_link_delete(socket, link.get());
  return error == -NLE_NODEV || error == -NLE_OBJ_NOTFOUND ? absl::OkStatus()
                                                           : NetlinkStatus(error, "removing a macvtap");
}

bool IsMacvtap(rtnl_link* link) {
  const char* kind = rtnl_link_get_type(link);
  return kind != nullptr && std::string_view(kind) == "macvtap";
}

}  // namespace kata::virtcontainers
