// SPDX-License-Identifier: Apache-2.0
// `binary:///path/to/logger?key=value&…`: a program that takes the output of one process
// (docs/shim-contract.md section 6, stdio). Pure.
#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace kata::shimv2 {

struct LoggerCommand {
  std::vector<std::string> words;  // the path, then each key of the query and its first value
  bool must_say_ready = false;     // binary-v2: end of file without a byte is a crash
};

bool IsLoggerUri(const std::string& uri);
// InvalidArgument when the path is not absolute or an escape is broken.
absl::StatusOr<LoggerCommand> ParseLoggerUri(const std::string& uri);

}  // namespace kata::shimv2
