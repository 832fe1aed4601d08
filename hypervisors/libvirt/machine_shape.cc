// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libvirt/libvirt.h>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "hypervisors/accelerator/accelerator.h"
#include "hypervisors/hypervisor.h"
#include "hypervisors/libvirt/domain_xml.h"
#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::hypervisors {
namespace {

// Grows with what the saved files mean, and with what the host expects of a guest that is saved.
constexpr int kVersion = 1;
constexpr size_t kOneProcessor = 8192;  // of /proc/cpuinfo, at least
constexpr char kAnyName[] = "saved";
constexpr char kAnyDirectory[] = "/saved";

absl::StatusOr<std::string> Stamp(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, absl::StrCat("looking at \"", path, "\""));
  return absl::StrCat(path, " ", info.st_dev, ".", info.st_ino, ".", info.st_size, ".", info.st_mtim.tv_sec, ".",
                      info.st_mtim.tv_nsec, "\n");
}

// What the guest was told of its processor may be what the host's is.
std::string HostProcessor() {
  // The first one stands for all; to ask for hundreds takes the kernel its time.
  std::string text(kOneProcessor, '\0');
  const UniqueFd file(::open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC));
  const ssize_t size = file.valid() ? ::read(file.get(), text.data(), text.size()) : -1;
  if (size <= 0) return "";
  text.resize(static_cast<size_t>(size));
  const absl::string_view first = absl::string_view(text).substr(0, text.find("\n\n"));
  std::string out;
  for (absl::string_view line : absl::StrSplit(first, '\n')) {
    for (const char* name : {"model name", "stepping", "microcode", "flags"}) {
      if (absl::StartsWith(line, name)) absl::StrAppend(&out, line, "\n");
    }
  }
  return out;
}

}  // namespace

absl::StatusOr<std::string> ShapeOf(const VmSpec& spec) {
  VmSpec shape = spec;
  shape.name = kAnyName;
  shape.runtime_dir = kAnyDirectory;
  shape.devices.clear();
  shape.saved_state.clear();
  for (auto& [name, value] : shape.guest_words) value.clear();
  const AcceleratorChoice choice = ChooseAccelerator(spec, "/dev/kvm", "/sys/module");
  if (choice.is_kvm && !choice.why_not_kvm.empty()) return absl::FailedPreconditionError(choice.why_not_kvm);
  ASSIGN_OR_RETURN(const std::string document, DomainXml(shape, MachinePaths(kAnyDirectory), choice.is_kvm));
  unsigned long libvirt = 0;
  if (::virGetVersion(&libvirt, nullptr, nullptr) != 0) return absl::InternalError("asking libvirt for its version");
  // The processors beside the document, which has an emulator's room for them: the kernel is told how many it may use.
  std::string out = absl::StrCat("version ", kVersion, "\nlibvirt ", libvirt, "\nprocessors ", spec.vcpus, " ",
                                 spec.vcpus_max, "\n", HostProcessor());
  for (const std::string& path : {spec.emulator, spec.kernel, spec.initrd, spec.firmware}) {
    if (path.empty()) continue;
    ASSIGN_OR_RETURN(const std::string stamp, Stamp(path));
    absl::StrAppend(&out, stamp);
  }
  return absl::StrCat(out, document);
}

}  // namespace kata::hypervisors
