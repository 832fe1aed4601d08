// SPDX-License-Identifier: Apache-2.0
// What the guest's kernel says of its memory. Blocking: a short read. Any thread.
#pragma once

#include <cstdint>
#include <string>

#include <absl/status/statusor.h>
#include <absl/strings/string_view.h>

namespace kata::agent {

absl::StatusOr<std::string> ReadMeminfo(const std::string& path = "/proc/meminfo");
// The value of `key`, its colon included ("MemTotal:"), in bytes; 0 where `meminfo` has none.
uint64_t MeminfoBytes(absl::string_view meminfo, absl::string_view key);

}  // namespace kata::agent
