// SPDX-License-Identifier: Apache-2.0
// A tap on a pod's interface in place of one beside it: a macvtap in passthru mode, which has the interface's hardware
// address and receives all that the interface does. The machine opens its /dev/tapN. It lives until it is removed, or
// its interface goes. Blocking; pool threads.
#pragma once

#include <netlink/route/link.h>

#include "virtcontainers/network/tap.h"

namespace kata::virtcontainers {

// As MakeTap. FailedPrecondition where the interface is a macvlan or has one: the kernel gives it no second reader.
absl::StatusOr<Tap> MakeMacvtap(nl_sock* socket, const PodInterface& interface, const std::string& owner);

// What is not there is fine.
absl::Status RemoveMacvtap(nl_sock* socket, int index);

bool IsMacvtap(rtnl_link* link);

}  // namespace kata::virtcontainers
