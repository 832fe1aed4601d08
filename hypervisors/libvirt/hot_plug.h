// SPDX-License-Identifier: Apache-2.0
// Plugs devices into a running machine and takes them out. Blocking.
#pragma once

#include <string>

#include <absl/status/status.h>

#include "hypervisors/device.h"
#include "hypervisors/libvirt/libvirt_session.h"

namespace kata::hypervisors {

// `xml`: of DeviceXml, for `index`. `netns`: the machine's network namespace, where a card's tap is.
absl::Status PlugIn(LibvirtSession& session, const std::string& xml, const Device& device, int index, int netns);
// Returns once the guest has let go of it: DeadlineExceeded after kDetachTimeout.
absl::Status TakeOut(LibvirtSession& session, const std::string& id, int index);

}  // namespace kata::hypervisors
