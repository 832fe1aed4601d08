// SPDX-License-Identifier: Apache-2.0
// The command line that containerd and CRI-O use, by the rules of Go's flag package: `-k v`, `-k=v`, one or two
// dashes, and the first word that is no flag is the action (docs/shim-contract.md section 1).
#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace kata::shimv2 {

struct Arguments {
  std::string name_space;      // -namespace
  std::string address;         // -address: containerd's gRPC socket; empty under CRI-O
  std::string publish_binary;  // -publish-binary
  std::string id;              // -id
  std::string bundle;          // -bundle, only with delete; else the working directory
  bool debug = false;
  bool version = false;  // -v, -version
  bool info = false;     // -info
  bool help = false;     // -h, -help
  std::string action;    // start, delete or empty
};

absl::StatusOr<Arguments> ParseArguments(const std::vector<std::string>& words);

}  // namespace kata::shimv2
