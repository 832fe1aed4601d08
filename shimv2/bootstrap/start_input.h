// SPDX-License-Identifier: Apache-2.0
// What a caller writes to the standard input of `start` and `-info`: nothing, an Any with runtime options, or, since
// containerd 2.3, BootstrapParams (docs/shim-contract.md section 1).
#pragma once

#include <chrono>
#include <string>

#include <absl/status/statusor.h>

#include "proto/schema/wire.pb.h"

namespace kata::shimv2 {

inline constexpr size_t kCallerInputMax = 10u << 20;
// A caller writes at once and closes; one that does neither is taken for one that has nothing to say.
inline constexpr std::chrono::seconds kCallerInputTimeout{3};

struct StartInput {
  wire::Any options;             // type_url empty: none
  std::string socket_directory;  // empty: the usual one
};

// Reads `fd` to its end. A terminal, a closed descriptor and one that stays silent for `timeout` give nothing;
// DeadlineExceeded when the end does not follow on the first bytes, ResourceExhausted above kCallerInputMax.
absl::StatusOr<std::string> ReadCallerInput(int fd, std::chrono::milliseconds timeout);
// The two forms decode as each other: BootstrapParams it is when it names this very container and namespace.
absl::StatusOr<StartInput> ParseStartInput(const std::string& bytes, const std::string& container_id,
                                           const std::string& name_space);

}  // namespace kata::shimv2
