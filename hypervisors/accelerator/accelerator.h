// SPDX-License-Identifier: Apache-2.0
// Decides between hardware virtualization and emulation. libvirt's own capabilities are not trusted: a host may offer
// /dev/kvm that cannot run a stock guest. Blocking, any thread except the io thread.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "hypervisors/hypervisor.h"

namespace kata::hypervisors {

struct AcceleratorChoice {
  bool is_kvm = false;
  std::string why_not_kvm;  // a warning; an error with is_kvm: it was demanded and does not work
};

// kAuto takes KVM when the machine's user may open it, the processor's module is loaded and a probe boot of the spec's
// kernel has gone well (probe_boot.h; kept in the spec's cache). `kvm_device` and `module_dir` are /dev/kvm and
// /sys/module outside tests.
AcceleratorChoice ChooseAccelerator(const VmSpec& spec, const std::string& kvm_device, const std::string& module_dir);

// An error of `path`, the value of configuration key `key`, unless it is a regular file that `uid` can read
// (and execute, with `is_program`).
absl::Status CheckFile(const std::string& path, const std::string& key, uid_t uid, gid_t gid, bool is_program);

}  // namespace kata::hypervisors
