// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/runtime_directory.h"

#include <sys/stat.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"
#include "virtcontainers/paths.h"

namespace kata::virtcontainers {

// The machine's user must come through its parents, whoever has made them and with which umask.
absl::Status MakeRuntimeDirectory(const std::string& sandbox_id) {
  const std::string directory = RuntimeDirectory(sandbox_id);
  RETURN_IF_ERROR(MakeDirs(directory, 0711));
  for (const std::string& path : {directory.substr(0, directory.rfind('/')), directory}) {
    if (::chmod(path.c_str(), 0711) != 0) return ErrnoStatus(errno, absl::StrCat("opening up \"", path, "\""));
  }
  return absl::OkStatus();
}

}  // namespace kata::virtcontainers
