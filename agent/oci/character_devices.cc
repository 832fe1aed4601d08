// SPDX-License-Identifier: Apache-2.0
#include "agent/oci/character_devices.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include <absl/strings/str_cat.h>

namespace kata::agent {
namespace {

bool IsAskedFor(const Device& device, const Resources& resources) {
  return std::any_of(resources.device_rules.begin(), resources.device_rules.end(), [&device](const DeviceRule& rule) {
    return rule.allow && rule.type == 'c' && rule.major == device.major && rule.minor == device.minor;
  });
}

}  // namespace

absl::Status CheckCharacterDevices(const ContainerSpec& spec, const std::string& known) {
  for (const Device& device : spec.devices) {
    if (device.type != S_IFCHR || !IsAskedFor(device, spec.resources)) continue;
    const std::string number = absl::StrCat(device.major, ":", device.minor);
    if (::access(absl::StrCat(known, "/", number).c_str(), F_OK) == 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("linux.devices: \"", device.path, "\": the guest has no character device ", number,
                     ": its kernel has no driver for it, and the host's cannot be reached from a machine"));
  }
  return absl::OkStatus();
}

}  // namespace kata::agent
