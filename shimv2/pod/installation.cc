// SPDX-License-Identifier: Apache-2.0
#include "shimv2/pod/installation.h"

#include <filesystem>
#include <system_error>

namespace kata::shimv2 {

std::string InstallationPrefix() {
  std::error_code ignored;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  return program.parent_path().parent_path().string();
}

}  // namespace kata::shimv2
