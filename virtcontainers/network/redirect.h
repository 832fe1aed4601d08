// SPDX-License-Identifier: Apache-2.0
// What one interface receives, another sends: a filter at the first one's ingress (tcfilter, Kata's default way of
// joining a pod's interface to its machine's tap). Blocking; pool threads.
#pragma once

#include <set>
#include <string>

#include <absl/status/status.h>

#include "virtcontainers/network/netlink.h"

namespace kata::virtcontainers {

// AlreadyExists when there is such a filter: the interface serves a machine.
absl::Status Redirect(nl_sock* socket, int from, int to);

// Takes the filter out if it sends to one of `to` or to what is there no more, and the ingress when nothing else is in
// it. What is not there is fine.
absl::Status RemoveRedirect(nl_sock* socket, int from, const std::set<int>& to);

}  // namespace kata::virtcontainers
