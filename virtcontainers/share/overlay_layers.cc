// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/share/overlay_layers.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include <absl/strings/match.h>
#include <absl/strings/str_join.h>

#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

constexpr char kLowerdir[] = "lowerdir=";
constexpr size_t kReserve = 512;    // for what the kernel adds, as containerd keeps it
constexpr size_t kLayersMax = 500;  // the kernel's own limit

// At colons, but for those after a backslash; empty ones stay, since "::" has a meaning of its own.
std::vector<std::string> SplitLayers(absl::string_view text) {
  std::vector<std::string> out(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ':') {
      out.emplace_back();
    } else {
      if (text[i] == '\\' && i + 1 < text.size()) ++i;
      out.back() += text[i];
    }
  }
  return out;
}

}  // namespace

absl::StatusOr<OverlayLayers> ShortenLayers(std::vector<std::string>& words) {
  OverlayLayers out;
  if (absl::StrJoin(words, ",").size() + kReserve < static_cast<size_t>(::getpagesize())) return out;
  for (std::string& word : words) {
    if (!absl::StartsWith(word, kLowerdir)) continue;
    std::vector<std::string> layers = SplitLayers(absl::string_view(word).substr(sizeof(kLowerdir) - 1));
    if (layers.size() > kLayersMax) {
      return absl::InvalidArgumentError(absl::StrCat(layers.size(), " layers: the kernel's limit is ", kLayersMax));
    }
    for (std::string& layer : layers) {
      if (layer.empty()) continue;
      UniqueFd fd(::open(layer.c_str(), O_PATH | O_CLOEXEC));
      if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("opening layer \"", layer, "\""));
      layer = absl::StrCat(fd.get());
      out.descriptors.push_back(std::move(fd));
    }
    word = absl::StrCat(kLowerdir, absl::StrJoin(layers, ":"));
  }
  return out;
}

}  // namespace kata::virtcontainers
