// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/accelerator/kernel_params.h"

#include <absl/strings/str_cat.h>

#include "hypervisors/accelerator/host_tsc.h"

namespace kata::hypervisors {

std::string TcgKernelParams(uint32_t vcpus) {
  // A guest that shares nothing with the host's CPU has nothing there to protect. nr_cpus: the emulator has room for
  // more processors than it has (WriteVcpus), the guest needs none.
  std::string params = absl::StrCat(" nokaslr mitigations=off nr_cpus=", vcpus);
  if (const uint32_t khz = HostTscKhz(); khz != 0) absl::StrAppend(&params, " tsc_early_khz=", khz);
  return params;
}

}  // namespace kata::hypervisors
