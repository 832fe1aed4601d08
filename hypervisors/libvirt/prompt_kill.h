// SPDX-License-Identifier: Apache-2.0
// libvirt ends a machine's process with SIGTERM, and looks 200 ms later, for the first time, whether it has ended
// (virProcessKillPainfully; also where that process has ended already and is only not collected yet). Every pod's end
// would take that long. So the program's kill(), which libvirt calls, is defined here: after SIGTERM it waits as long
// as libvirt would, but no longer than until the end, collects the process, and says that there is none.
#pragma once

#include <chrono>

namespace kata::hypervisors {

inline constexpr std::chrono::milliseconds kLibvirtKillPoll{200};

// Takes the exit status of an ended child of this process, if nobody has. True if it was this call.
bool CollectEnded(int pidfd);

}  // namespace kata::hypervisors
