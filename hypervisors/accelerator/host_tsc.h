// SPDX-License-Identifier: Apache-2.0
// The frequency of the host's time stamp counter. Blocking for some milliseconds; pool threads.
#pragma once

#include <cstdint>

namespace kata::hypervisors {

// In kHz; 0 where there is none. An emulated x86 machine sees the host's counter, but a kernel in it measures it
// against an emulated timer and gets it wrong by any factor when QEMU has to wait for a CPU meanwhile. Its clock then
// runs that much too fast or too slow for good.
uint32_t HostTscKhz();

}  // namespace kata::hypervisors
