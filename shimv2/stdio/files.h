// SPDX-License-Identifier: Apache-2.0
// Opens what a client gave as stdin, stdout and stderr (docs/shim-contract.md section 6, stdio). Opening never waits
// for a peer. stdout decides when it is a file:// or a logger: both streams go to it then.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::shimv2 {

struct StdioPaths {
  std::string in;  // as the client wrote them; State echoes them
  std::string out;
  std::string err;
  bool terminal = false;
};

struct StdioFiles {
  UniqueFd in;
  UniqueFd in_keeper;  // a write end of stdin's fifo: a client that goes away is no end of file; CloseIO closes it
  UniqueFd out;
  UniqueFd err;  // not valid when it is the same file as out (see err_is_out)
  bool err_is_out = false;
  // Fifos that nobody reads yet: what is written and closed before a reader comes is lost, so they are opened later.
  std::string late_out;
  std::string late_err;
};

// A fifo's both ends, so that neither a missing nor a restarted reader makes a later write fail. The descriptor is not
// valid while the fifo has no reader.
absl::StatusOr<UniqueFd> OpenOutputFifo(const std::string& path, const char* which);

// Opens those of the late fifos that have got a reader.
absl::Status OpenLateOutputs(StdioFiles& files);

bool HasOutput(const StdioPaths& paths);
bool HasErrors(const StdioPaths& paths);
// InvalidArgument for a scheme that is not supported. The outputs of a logger (see IsLoggerUri) are left to the caller.
absl::StatusOr<StdioFiles> OpenStdioFiles(const StdioPaths& paths);

}  // namespace kata::shimv2
