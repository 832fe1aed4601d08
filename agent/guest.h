// SPDX-License-Identifier: Apache-2.0
// What PID 1 does for the guest itself: first mounts, loopback, the kernel command line, power off.
// Called by main before the event loop, except PowerOff.
#pragma once

#include <absl/strings/string_view.h>
#include <map>
#include <string>

#include <absl/status/status.h>

namespace kata::agent {

// `name=value` words of a command line; a bare word has the value "".
std::map<std::string, std::string> ParseCommandLine(absl::string_view text);
// Mounts /proc, /sys, /dev and so on, makes the root one that pivot_root accepts, brings loopback
// up.
absl::Status PrepareGuest();
// Syncs and powers off; does not return.
[[noreturn]] void PowerOff();
// For a PID 1 that cannot go on.
[[noreturn]] void RebootAfterError();

}  // namespace kata::agent
