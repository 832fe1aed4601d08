// SPDX-License-Identifier: Apache-2.0
// What taps of both kinds (tap.h, macvtap.h) are as devices of the pod's network namespace: names, numbers, whose they
// are. Blocking; pool threads.
#pragma once

#include <netlink/route/link.h>

#include <string>

#include <absl/status/statusor.h>

#include "virtcontainers/network/pod_network.h"

namespace kata::virtcontainers {

// A pod may have taken a name for itself.
inline constexpr int kTapNamesMax = 16;
std::string TapName(const PodInterface& interface, int number);

// A number for a tap that no /dev/tapN has.
absl::StatusOr<uint32_t> FreeTapIndex();

// Makes the namespace's kernel silent on it, and sets it up: of the interface's MTU, sandbox `owner`'s.
absl::Status SetUpTap(nl_sock* socket, int index, const std::string& name, const PodInterface& interface,
                      const std::string& owner);

// The sandbox whose tap `link` is; empty: it is none.
std::string OwnerOf(rtnl_link* link);

}  // namespace kata::virtcontainers
