// SPDX-License-Identifier: Apache-2.0
// The command line of the guest's kernel, as this project's kernel and machine want it.
#pragma once

#include <cstdint>
#include <string>

namespace kata::hypervisors {

// Without no_timer_check a guest on a busy host panics: it takes a late timer interrupt for a missing one.
// secretmem.enable: memfd_secret, which Linux before 6.5 refuses otherwise. swiotlb: a machine that has, or may get,
// memory above 4 GiB would keep 64 MiB for devices that cannot reach it, and clear it at boot; it has no such device.
// memory_hotplug: memory that was added is for what can be moved, up to three times the rest, or it never goes again.
inline constexpr char kKernelParams[] =
    "console=ttyS0 quiet panic=-1 noreplace-smp no_timer_check tsc=reliable "
    "rcupdate.rcu_expedited=1 8250.nr_uarts=1 dummy.numdummies=0 secretmem.enable=1 swiotlb=noforce "
    "memory_hotplug.online_policy=auto-movable";
// Added to an emulated machine that boots with `vcpus` processors and may take up to `vcpus_max` into use; begins with
// a blank. Measures the host's TSC: blocking for some milliseconds.
std::string TcgKernelParams(uint32_t vcpus, uint32_t vcpus_max);

}  // namespace kata::hypervisors
