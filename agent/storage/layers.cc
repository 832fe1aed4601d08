// SPDX-License-Identifier: Apache-2.0
#include "agent/storage/layers.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

#include "agent/base/errors.h"
#include "proto/base/status.h"

namespace kata::agent {
namespace {

constexpr size_t kFilesystemsSizeMax = 64u << 10;
constexpr const char* kLayerTypes[] = {"erofs", "overlay"};

}  // namespace

// Each line has a type behind a tab.
bool HasLayerTypes(const std::string& filesystems) {
  const std::vector<std::string> words = absl::StrSplit(filesystems, absl::ByAnyChar("\t\n"));
  return std::all_of(std::begin(kLayerTypes), std::end(kLayerTypes),
                     [&words](const char* type) { return std::find(words.begin(), words.end(), type) != words.end(); });
}

bool CanPutLayersTogether() {
  auto filesystems = ReadFile("/proc/filesystems", kFilesystemsSizeMax);
  return filesystems.ok() && HasLayerTypes(*filesystems);
}

absl::StatusOr<std::vector<UniqueFd>> OpenLayers(const std::vector<std::string>& layers) {
  if (layers.size() > kLayersMax)
    return absl::ResourceExhaustedError(absl::StrCat(layers.size(), " layers: at most ", kLayersMax));
  std::vector<UniqueFd> open;
  for (const std::string& layer : layers) {
    UniqueFd fd(::open(layer.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid()) return SystemError(errno, absl::StrCat("opening layer \"", layer, "\""));
    open.push_back(std::move(fd));
  }
  return open;
}

std::string WordsOfLayers(const std::vector<UniqueFd>& open) {
  const auto name = [](std::string* out, const UniqueFd& fd) { absl::StrAppend(out, "/proc/self/fd/", fd.get()); };
  return absl::StrJoin(open, ":", name);
}

}  // namespace kata::agent
