// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/devices/image_layers.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <system_error>

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>

#include "proto/base/fd.h"
#include "virtcontainers/storage/erofs_image.h"

namespace kata::virtcontainers {
namespace {

constexpr char kOverlay[] = "overlay";
// Of an overlay that say nothing of what is in it; any other is for the host.
constexpr const char* kPassedOver[] = {"index=off", "ro", "rw", "relatime"};
constexpr size_t kSysFileMax = 4096;

struct OverlayWords {
  std::vector<std::string> lower;
  std::string upper;
};

std::optional<OverlayWords> ReadWords(const std::vector<std::string>& words) {
  OverlayWords out;
  for (const std::string& word : words) {
    absl::string_view rest = word;
    if (absl::ConsumePrefix(&rest, "lowerdir=")) {
      // A backslash stands before a colon that is part of a name.
      if (absl::StrContains(rest, "\\")) return std::nullopt;
      out.lower = absl::StrSplit(rest, ':');
    } else if (absl::ConsumePrefix(&rest, "upperdir=")) {
      out.upper = std::string(rest);
    } else if (!absl::StartsWith(rest, "workdir=") &&
               std::find(std::begin(kPassedOver), std::end(kPassedOver), word) == std::end(kPassedOver)) {
      return std::nullopt;
    }
  }
  return out;
}

std::string Resolved(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> found(::realpath(path.c_str(), nullptr), &std::free);
  return found != nullptr ? found.get() : "";
}

// The file that is mounted there: by the kernel itself, or by a loop device that has all of it.
std::optional<std::string> ImageOf(const MountEntry& mount) {
  if (mount.type != kLayerType || mount.root != "/") return std::nullopt;
  const std::string loop = absl::StrCat("/sys/dev/block/", mount.device, "/loop/");
  auto file = ReadFile(loop + "backing_file", kSysFileMax);
  if (!file.ok()) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(mount.source, error)) return std::nullopt;
    return mount.source;
  }
  for (const char* name : {"offset", "sizelimit"}) {
    auto number = ReadFile(loop + name, kSysFileMax);
    if (!number.ok() || absl::StripAsciiWhitespace(*number) != "0") return std::nullopt;
  }
  return std::string(absl::StripSuffix(*file, "\n"));
}

bool IsEmpty(const std::string& directory) {
  std::error_code error;
  return std::filesystem::is_empty(directory, error) && !error;
}

}  // namespace

bool MayBeLayers(const std::vector<RootfsMount>& list) {
  return list.size() == 1 && list[0].type == kOverlay && list[0].target.empty();
}

std::optional<ImageLayers> FindImageLayers(const std::vector<RootfsMount>& list,
                                           const std::vector<MountEntry>& mounts) {
  if (!MayBeLayers(list)) return std::nullopt;
  const std::optional<OverlayWords> words = ReadWords(list[0].options);
  if (!words.has_value() || words->lower.empty() || words->lower.size() > kImageLayersMax) return std::nullopt;
  // What was written there before is not in the layers.
  if (!words->upper.empty() && !IsEmpty(words->upper)) return std::nullopt;
  ImageLayers out;
  out.is_written = !words->upper.empty();
  for (const std::string& layer : words->lower) {
    const std::string place = Resolved(layer);
    // The last one lies on top.
    const auto mount = std::find_if(mounts.rbegin(), mounts.rend(),
                                    [&place](const MountEntry& entry) { return entry.place == place; });
    if (place.empty() || mount == mounts.rend()) return std::nullopt;
    std::optional<std::string> image = ImageOf(*mount);
    if (!image.has_value() || !CheckErofsImage(*image).ok()) return std::nullopt;
    out.images.push_back(*std::move(image));
  }
  return out;
}

std::optional<ImageLayers> FindImageLayers(const std::vector<RootfsMount>& list) {
  if (!MayBeLayers(list)) return std::nullopt;
  const std::optional<OverlayWords> words = ReadWords(list[0].options);
  struct statfs info {};
  if (!words.has_value() || words->lower.empty() || ::statfs(words->lower[0].c_str(), &info) != 0 ||
      static_cast<unsigned long>(info.f_type) != EROFS_SUPER_MAGIC_V1) {
    return std::nullopt;
  }
  auto mounts = Mounts();
  if (!mounts.ok()) return std::nullopt;
  return FindImageLayers(list, *mounts);
}

}  // namespace kata::virtcontainers
