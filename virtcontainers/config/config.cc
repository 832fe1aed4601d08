// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/config/config.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include <absl/strings/match.h>
#include <absl/strings/str_replace.h>
#include <toml++/toml.h>

#include "proto/base/status.h"
#include "virtcontainers/config/keys.h"
#include "virtcontainers/config/nearest.h"

namespace kata::virtcontainers {
namespace {

constexpr char kBodyName[] = "ConfigBody";
constexpr char kEtcFile[] = "/etc/kata-containers/configuration.toml";
constexpr char kShareFile[] = "/share/defaults/kata-containers/configuration.toml";
constexpr char kPrefixMark[] = "@PREFIX@";

// Sets one key from a file's value; the error is the cause only, the caller adds file, line and key.
absl::Status SetFromToml(const ConfigKey& key, Config& config, const toml::node& value, const std::string& prefix) {
  const absl::Status bad = absl::InvalidArgumentError(absl::StrCat(LegalValues(key), " is needed"));
  if (const auto* list = std::get_if<ListKey>(&key.kind)) {
    const toml::array* array = value.as_array();
    if (array == nullptr) return bad;
    std::vector<std::string> texts;
    for (const toml::node& entry : *array) {
      if (!entry.is_string()) return bad;
      texts.push_back(*entry.value<std::string>());
      if (list->check) RETURN_IF_ERROR(list->check(texts.back()));
    }
    config.*list->member = std::move(texts);
    return absl::OkStatus();
  }
  if (std::holds_alternative<SwitchKey>(key.kind)) {
    if (!value.is_boolean()) return bad;
    return SetFromText(key, config, *value.value<bool>() ? "true" : "false");
  }
  if (std::holds_alternative<NumberKey>(key.kind)) {
    if (!value.is_integer()) return bad;
    return SetFromText(key, config, std::to_string(*value.value<int64_t>()));
  }
  if (!value.is_string()) return bad;
  return SetFromText(key, config, absl::StrReplaceAll(*value.value<std::string>(), {{kPrefixMark, prefix}}));
}

// The texts that no file has set still have the mark.
void ReplacePrefix(Config& config, const std::string& prefix) {
  for (const ConfigKey& key : ConfigKeys()) {
    const auto* text = std::get_if<TextKey>(&key.kind);
    if (text != nullptr) config.*text->member = absl::StrReplaceAll(config.*text->member, {{kPrefixMark, prefix}});
  }
}

std::set<std::string> Tables() {
  std::set<std::string> names;
  for (const ConfigKey& key : ConfigKeys()) names.insert(key.table);
  return names;
}

std::set<std::string> NamesIn(const std::string& table) {
  std::set<std::string> names;
  for (const ConfigKey& key : ConfigKeys()) {
    if (key.table == table) names.insert(key.name);
  }
  return names;
}

class Reader {
 public:
  Reader(std::string file, Config& config, std::string prefix, ConfigOrigins& origins)
      : file_(std::move(file)), config_(config), prefix_(std::move(prefix)), origins_(origins) {}

  absl::Status Read(const toml::table& table, const std::string& path) {
    for (const auto& [key, value] : table) {
      const std::string name(key.str());
      if (value.is_table()) {
        RETURN_IF_ERROR(ReadTable(*value.as_table(), path.empty() ? name : absl::StrCat(path, ".", name)));
      } else {
        RETURN_IF_ERROR(ReadKey(value, path, name));
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status ReadTable(const toml::table& table, const std::string& path) {
    const std::set<std::string> known = Tables();
    const bool is_known = std::any_of(known.begin(), known.end(), [&path](const std::string& name) {
      return name == path || absl::StartsWith(name, path + ".");
    });
    if (is_known) return Read(table, path);
    return At(table, absl::StrCat("unknown table [", path, "]; did you mean [", Nearest(known, path), "]?"));
  }

  absl::Status ReadKey(const toml::node& value, const std::string& table, const std::string& name) {
    if (!Tables().contains(table))
      return At(value, absl::StrCat("key \"", name, "\" stands outside of every known table"));
    const ConfigKey* key = FindKey(absl::StrCat(table, ".", name));
    if (key == nullptr) {
      return At(value, absl::StrCat("unknown key \"", name, "\" in [", table, "]; did you mean \"",
                                    Nearest(NamesIn(table), name), "\"?"));
    }
    const absl::Status status = SetFromToml(*key, config_, value, prefix_);
    if (!status.ok()) return At(value, absl::StrCat("key \"", name, "\": ", status.message()));
    origins_.keys[FullName(*key)] = absl::StrCat(file_, " line ", value.source().begin.line);
    return absl::OkStatus();
  }

  absl::Status At(const toml::node& node, const std::string& what) const {
    return absl::InvalidArgumentError(
        absl::StrCat("configuration \"", file_, "\" line ", node.source().begin.line, ": ", what));
  }

  std::string file_;
  Config& config_;
  std::string prefix_;
  ConfigOrigins& origins_;
};

// `text` null: the file's own.
absl::Status ReadInto(Config& config, const std::string& file, const std::string& prefix, ConfigOrigins& origins,
                      const std::string* text = nullptr) {
  origins.files.push_back(file);
  try {
    const toml::table table = text != nullptr ? toml::parse(*text, file) : toml::parse_file(file);
    return Reader(file, config, prefix, origins).Read(table, "");
  } catch (const toml::parse_error& error) {
    return absl::InvalidArgumentError(absl::StrCat("configuration \"", file, "\" line ", error.source().begin.line,
                                                   ": ", std::string(error.description())));
  }
}

// What one key alone does not say.
absl::Status CheckTogether(const Config& config) {
  const auto bad = [&config](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("configuration \"", config.file, "\": ", what));
  };
  const bool is_direct = config.block_device_cache_set && config.block_device_cache_direct;
  if (config.block_device_aio == hypervisors::DiskAio::kNative && !is_direct) {
    return bad(
        "block_device_aio = \"native\" needs block_device_cache_set = true and block_device_cache_direct = true");
  }
  if (is_direct && config.block_device_cache_noflush)
    return bad("of block_device_cache_direct and block_device_cache_noflush only one can be true");
  if ((config.virtio_fs_queue_size & (config.virtio_fs_queue_size - 1)) != 0)
    return bad(absl::StrCat("virtio_fs_queue_size = ", config.virtio_fs_queue_size, ": a power of two is needed"));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Config> LoadConfig(const std::string& prefix, const std::string& explicit_path, const std::string& body,
                                  ConfigOrigins* origins) {
  ConfigOrigins unused;
  ConfigOrigins& from = origins != nullptr ? *origins : unused;
  Config config;
  config.prefix = prefix;
  config.file = explicit_path;
  if (config.file.empty()) config.file = ::access(kEtcFile, F_OK) == 0 ? kEtcFile : prefix + kShareFile;
  const bool is_body_enough = explicit_path.empty() && !body.empty();
  if (is_body_enough && ::access(config.file.c_str(), F_OK) != 0) {
    config.file = kBodyName;
    RETURN_IF_ERROR(ReadInto(config, kBodyName, prefix, from, &body));
    RETURN_IF_ERROR(CheckTogether(config));
    ReplacePrefix(config, prefix);
    return config;
  }
  if (::access(config.file.c_str(), R_OK) != 0) {
    return ErrnoStatus(errno, absl::StrCat("reading configuration \"", config.file, "\""));
  }
  RETURN_IF_ERROR(ReadInto(config, config.file, prefix, from));
  std::vector<std::string> drop_ins;
  std::error_code error;
  const auto directory = std::filesystem::path(config.file).parent_path() / "config.d";
  for (std::filesystem::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == ".toml") drop_ins.push_back(at->path().string());
  }
  std::sort(drop_ins.begin(), drop_ins.end());
  for (const std::string& drop_in : drop_ins) RETURN_IF_ERROR(ReadInto(config, drop_in, prefix, from));
  if (!body.empty()) RETURN_IF_ERROR(ReadInto(config, kBodyName, prefix, from, &body));
  RETURN_IF_ERROR(CheckTogether(config));
  ReplacePrefix(config, prefix);
  return config;
}

absl::Status ApplyAnnotations(Config& config, const std::map<std::string, std::string>& annotations,
                              ConfigOrigins* origins) {
  const std::vector<std::string> enabled = config.enable_annotations;
  for (const auto& [name, value] : annotations) {
    if (!absl::StartsWith(name, kAnnotationPrefix)) continue;
    const std::string what = absl::StrCat("annotation \"", name, "\"");
    std::set<std::string> known;
    const ConfigKey* found = nullptr;
    for (const ConfigKey& key : ConfigKeys()) {
      if (key.annotation.empty()) continue;
      const std::string full = absl::StrCat(kAnnotationPrefix, key.annotation);
      known.insert(full);
      if (full == name) found = &key;
    }
    if (found == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, ": there is no such key; did you mean \"", Nearest(known, name), "\"?"));
    }
    if (std::find(enabled.begin(), enabled.end(), name) == enabled.end()) {
      return absl::PermissionDeniedError(
          absl::StrCat(what, ": not enabled; an operator can add it to \"enable_annotations\" of configuration \"",
                       config.file, "\""));
    }
    const absl::Status status = SetFromText(*found, config, value);
    if (!status.ok()) return Annotate(status, what);
    if (origins != nullptr) origins->keys[FullName(*found)] = absl::StrCat("annotation ", name);
  }
  return absl::OkStatus();
}

}  // namespace kata::virtcontainers
