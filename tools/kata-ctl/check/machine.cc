// SPDX-License-Identifier: Apache-2.0
// What a machine is made of: virtualization, programs, files.
#include <glob.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>
#include <variant>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include "hypervisors/accelerator/accelerator.h"
#include "proto/base/status.h"
#include "tools/kata-ctl/check/finding.h"
#include "virtcontainers/agent_client/channel.h"
#include "virtcontainers/config/keys.h"
#include "virtcontainers/sandbox/machine_spec.h"
#include "virtcontainers/share/virtiofsd_words.h"

namespace kata::ctl {
namespace {

using virtcontainers::Config;
using virtcontainers::ConfigKey;

// libvirt loads it into the shim's process; it is a package of its own in some distributions.
constexpr const char* kDriverPlaces[] = {"/usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so",
                                         "/usr/lib64/libvirt/connection-driver/libvirt_driver_qemu.so",
                                         "/usr/lib/libvirt/connection-driver/libvirt_driver_qemu.so"};

std::string FirstMatch(const char* pattern) {
  glob_t found{};
  std::string path;
  if (::glob(pattern, 0, nullptr, &found) == 0 && found.gl_pathc > 0) path = found.gl_pathv[0];
  ::globfree(&found);
  return path;
}

Finding CheckDriver() {
  for (const char* pattern : kDriverPlaces) {
    const std::string path = FirstMatch(pattern);
    if (!path.empty()) return {"libvirt", Level::kGood, absl::StrCat("its QEMU driver is ", path), ""};
  }
  return {"libvirt", Level::kError, "its QEMU driver (libvirt_driver_qemu.so) is not there",
          "apt-get install libvirt-daemon"};
}

Finding CheckVirtiofsd(const Config& config) {
  if (config.shared_fs != virtcontainers::SharedFs::kVirtioFs)
    return {"virtiofsd", Level::kNote,
            "not used: shared_fs is \"virtio-9p\", which is slower and lacks some of what files can do",
            "set shared_fs = \"virtio-fs\""};
  const std::string fix = "apt-get install qemu-system-common (Debian 12), virtiofsd (Debian 13)";
  std::string program = config.virtio_fs_daemon;
  if (program.empty()) {
    auto found = virtcontainers::FindVirtiofsd();
    if (!found.ok()) return {"virtiofsd", Level::kError, std::string(found.status().message()), fix};
    program = *found;
  }
  auto kind = virtcontainers::ProbeVirtiofsd(program, "");
  if (!kind.ok()) return {"virtiofsd", Level::kError, absl::StrCat(program, ": ", kind.status().message()), fix};
  if (!kind->is_rust) return {"virtiofsd", Level::kGood, absl::StrCat(program, ", QEMU's"), ""};
  return {"virtiofsd", Level::kNote,
          absl::StrCat(program, ", in Rust: each start of a program reads it from the host anew"), ""};
}

}  // namespace

Finding CheckAccelerator(const Config& config) {
  virtcontainers::SandboxOptions options;
  options.config = config;
  const hypervisors::VmSpec spec = virtcontainers::MakeMachineSpec(options, virtcontainers::BootToken());
  const hypervisors::AcceleratorChoice choice = hypervisors::ChooseAccelerator(spec, "/dev/kvm", "/sys/module");
  if (choice.is_kvm && choice.why_not_kvm.empty())
    return {"accelerator", Level::kGood, "KVM has booted the pods' kernel", ""};
  if (choice.is_kvm)
    return {"accelerator", Level::kError, choice.why_not_kvm, "set accelerator = \"auto\", or mend what is named"};
  if (choice.why_not_kvm.empty())
    return {"accelerator", Level::kNote, "machines are emulated, as accelerator = \"tcg\" says: several times slower",
            ""};
  return {"accelerator", Level::kWarning,
          absl::StrCat("machines are emulated, several times slower: ", choice.why_not_kvm),
          "modprobe kvm_intel or kvm_amd; in a virtual machine, enable nested virtualization on its host"};
}

Findings CheckPrograms(const Config& config) { return {CheckDriver(), CheckVirtiofsd(config)}; }

Findings CheckFiles(const Config& config) {
  Findings findings;
  for (const ConfigKey& key : virtcontainers::ConfigKeys()) {
    const auto* text = std::get_if<virtcontainers::TextKey>(&key.kind);
    // Directories are made by who needs them.
    if (text == nullptr || !text->is_path || absl::EndsWith(key.name, "_path")) continue;
    const std::string& path = config.*text->member;
    if (path.empty()) continue;
    const bool is_program = key.name == "path" || absl::EndsWith(key.name, "_daemon");
    if (::access(path.c_str(), is_program ? X_OK : R_OK) == 0) {
      findings.push_back({key.name, Level::kGood, path, ""});
      continue;
    }
    findings.push_back(
        {key.name, Level::kError, std::string(ErrnoStatus(errno, absl::StrCat("\"", path, "\"")).message()),
         key.name == "path" ? "apt-get install qemu-system-x86" : absl::StrCat("name it by ", FullName(key))});
  }
  return findings;
}

}  // namespace kata::ctl
