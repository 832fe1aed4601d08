// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/accelerator/kernel_params.h"

#include <algorithm>

#include <absl/strings/str_cat.h>

#include "hypervisors/accelerator/host_tsc.h"

namespace kata::hypervisors {

std::string TcgKernelParams(uint32_t vcpus, uint32_t vcpus_max) {
  // init_on_alloc: virtiofsd writes what was read into the guest's memory, and QEMU does not hear of it: translations
  // of the code that was in that page before would still count for what is there now (decision 26). A page that the
  // guest's processor writes first, as it does here with each that it takes into use, has none left. A guest that
  // shares nothing with the host's CPU has nothing there to protect. nr_cpus: the emulator may have more processors
  // than the machine (WriteVcpus). maxcpus: those beyond wait until the agent takes them into use.
  std::string params =
      absl::StrCat(" nokaslr mitigations=off init_on_alloc=1 nr_cpus=", std::max(vcpus, vcpus_max), " maxcpus=", vcpus);
  if (const uint32_t khz = HostTscKhz(); khz != 0) absl::StrAppend(&params, " tsc_early_khz=", khz);
  return params;
}

}  // namespace kata::hypervisors
