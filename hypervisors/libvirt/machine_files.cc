// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/machine_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include <fmt/format.h>

#include "hypervisors/accelerator/accelerator.h"
#include "hypervisors/vsock.h"
#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::hypervisors {
namespace {

constexpr size_t kNameMax = 96;

absl::Status CheckSpec(const VmSpec& spec) {
  if (spec.name.empty() || spec.name.size() > kNameMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("check name \"", spec.name, "\": must have 1 to ", kNameMax, " characters"));
  }
  if (spec.vcpus == 0) return absl::InvalidArgumentError("check vcpus: must be at least 1");
  RETURN_IF_ERROR(CheckFile(spec.emulator, "path", spec.uid, spec.gid, true));
  RETURN_IF_ERROR(CheckFile(spec.kernel, "kernel", spec.uid, spec.gid, false));
  RETURN_IF_ERROR(CheckFile(spec.initrd, "initrd", spec.uid, spec.gid, false));
  if (AgentChannelOf(spec) == AgentChannel::kVsock) RETURN_IF_ERROR(CheckVhostVsock());
  if (spec.firmware.empty()) return absl::OkStatus();
  return CheckFile(spec.firmware, "firmware", spec.uid, spec.gid, false);
}

absl::Status MakeShortLink(const MachinePaths& paths) {
  RETURN_IF_ERROR(MakeDirs(paths.short_dir.substr(0, paths.short_dir.rfind('/')), 0711));
  unlink(paths.short_dir.c_str());
  if (symlink(paths.runtime_dir.c_str(), paths.short_dir.c_str()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("make link \"", paths.short_dir, "\""));
  }
  return absl::OkStatus();
}

}  // namespace

std::string QemuConf(uid_t uid, gid_t gid) {
  // Nothing is chowned (kernel and initrd are everybody's); no daemon is needed for logs; libvirt limits the devices
  // alone, for the machine is counted in the pod's cgroup; an empty list crashes it when a virtiofs share is plugged
  // in.
  return fmt::format(
      "user = \"+{}\"\n"
      "group = \"+{}\"\n"
      "security_driver = \"none\"\n"
      "dynamic_ownership = 0\n"
      "remember_owner = 0\n"
      "namespaces = [ ]\n"
      "cgroup_controllers = [ \"devices\" ]\n"
      "stdio_handler = \"file\"\n"
      "max_core = 0\n"
      "seccomp_sandbox = 1\n",
      uid, gid);
}

std::string CapabilitiesDir(const VmSpec& spec, bool is_kvm) {
  return spec.cache_dir + (is_kvm ? "/capabilities-kvm" : "/capabilities-tcg");
}

absl::Status PrepareMachine(const VmSpec& spec, const MachinePaths& paths) {
  RETURN_IF_ERROR(CheckSpec(spec));
  RETURN_IF_ERROR(MakeShortLink(paths));
  RETURN_IF_ERROR(MakeDirs(paths.runtime_dir + "/libvirt/etc", 0711));
  if (chmod((paths.runtime_dir + "/libvirt").c_str(), 0711) != 0) {
    return ErrnoStatus(errno, absl::StrCat("open up \"", paths.runtime_dir, "/libvirt\""));
  }
  return WriteFileAtomically(paths.libvirt_root + "/etc/qemu.conf", QemuConf(spec.uid, spec.gid), 0600);
}

}  // namespace kata::hypervisors
