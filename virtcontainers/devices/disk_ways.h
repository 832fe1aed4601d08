// SPDX-License-Identifier: Apache-2.0
// How the machine's process works with the files of its disks, by the configuration and by what the host can. Any
// thread.
#pragma once

#include <string>

#include "hypervisors/device.h"
#include "virtcontainers/config/config.h"

namespace kata::virtcontainers {

// Warns where the host cannot do what is configured.
hypervisors::DiskWays DiskWaysOf(const Config& config);
// Why a program without rights cannot use io_uring here; empty: it can. `setting`: the file of
// kernel.io_uring_disabled, which kernels before 6.6 do not have.
std::string WhyNoIoUring(const std::string& setting = "/proc/sys/kernel/io_uring_disabled");

}  // namespace kata::virtcontainers
