// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/network/netlink.h"

#include <array>
#include <cstdlib>

namespace kata::virtcontainers {

absl::Status NetlinkStatus(int error, const std::string& what) {
  if (error >= 0) return absl::OkStatus();
  const std::string text = absl::StrCat(what, ": ", nl_geterror(error));
  switch (-error) {
    case NLE_EXIST:
      return absl::AlreadyExistsError(text);
    case NLE_NODEV:
    case NLE_OBJ_NOTFOUND:
      return absl::NotFoundError(text);
    default:
      return absl::InternalError(text);
  }
}

absl::StatusOr<NetlinkSocket> OpenNetlink() {
  NetlinkSocket socket(nl_socket_alloc());
  if (socket == nullptr) return absl::ResourceExhaustedError("making a netlink socket: out of memory");
  RETURN_IF_ERROR(NetlinkStatus(nl_connect(socket.get(), NETLINK_ROUTE), "opening a netlink socket"));
  return socket;
}

std::string AddressText(nl_addr* address) {
  if (address == nullptr || nl_addr_get_len(address) == 0) return "";
  std::array<char, 64> text{};
  nl_addr2str(address, text.data(), text.size());
  std::string result = text.data();
  if (const size_t slash = result.find('/'); slash != std::string::npos) result.resize(slash);
  return result;
}

}  // namespace kata::virtcontainers
