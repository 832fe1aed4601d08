// SPDX-License-Identifier: Apache-2.0
// What a document says of disks. Pure.
#pragma once

#include <string>
#include <vector>

#include "virtcontainers/devices/container_disk.h"
#include "virtcontainers/oci/document.h"

namespace kata::virtcontainers {

struct DiskWish {
  DiskNode node;
  bool is_read_only = false;  // no rule allows to write to it
};

// The block devices of linux.devices that a rule of linux.resources.devices allows by their own number, as it does for
// a device that somebody asked for. One without such a rule stands in a list of all that the host has (a privileged
// container's): the machine does not get the host's disks for that.
std::vector<DiskWish> DisksOf(const OciDocument& document);

// The guest's document with the root file system at `path`.
std::string WithRootfsAt(const std::string& spec_json, const std::string& path);

}  // namespace kata::virtcontainers
