// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/accelerator/kernel_params.h"

#include <algorithm>

#include <absl/strings/str_cat.h>

#include "hypervisors/accelerator/host_tsc.h"

namespace kata::hypervisors {

std::string TcgKernelParams(uint32_t vcpus, uint32_t vcpus_max) {
  // A guest that shares nothing with the host's CPU has nothing there to protect. nr_cpus: the emulator may have
  // more processors than the machine (WriteVcpus). maxcpus: those beyond wait until the agent takes them into use.
  std::string params =
      absl::StrCat(" nokaslr mitigations=off nr_cpus=", std::max(vcpus, vcpus_max), " maxcpus=", vcpus);
  if (const uint32_t khz = HostTscKhz(); khz != 0) absl::StrAppend(&params, " tsc_early_khz=", khz);
  return params;
}

}  // namespace kata::hypervisors
