// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/config/config.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include <absl/strings/match.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_replace.h>
#include <toml++/toml.h>

#include "proto/base/status.h"
#include "virtcontainers/config/kata_keys.h"
#include "virtcontainers/config/keys.h"
#include "virtcontainers/config/nearest.h"

namespace kata::virtcontainers {
namespace {

constexpr char kBodyName[] = "ConfigBody";
constexpr char kEtcFile[] = "/etc/kata-containers/configuration.toml";
constexpr char kShareFile[] = "/share/defaults/kata-containers/configuration.toml";
constexpr char kPrefixMark[] = "@PREFIX@";
// Where some of Kata's files have [factory].
constexpr char kNestedFactory[] = "hypervisor.qemu.factory";

// Sets one key from a file's value; the error is the cause only, the caller adds file, line and key.
absl::Status SetFromToml(const ConfigKey& key, Config& config, const toml::node& value, const std::string& prefix) {
  const absl::Status bad = absl::InvalidArgumentError(absl::StrCat(LegalValues(key), " is needed"));
  if (const auto* list = std::get_if<ListKey>(&key.kind)) {
    const toml::array* array = value.as_array();
    if (array == nullptr) return bad;
    std::vector<std::string> texts;
    std::vector<std::string> wrong;
    for (const toml::node& entry : *array) {
      if (!entry.is_string()) return bad;
      texts.push_back(absl::StrReplaceAll(*entry.value<std::string>(), {{kPrefixMark, prefix}}));
      const absl::Status checked = list->check ? list->check(texts.back()) : absl::OkStatus();
      if (!checked.ok()) wrong.emplace_back(checked.message());
    }
    if (!wrong.empty()) return absl::InvalidArgumentError(absl::StrJoin(wrong, "; "));
    config.*list->member = std::move(texts);
    return absl::OkStatus();
  }
  if (std::holds_alternative<SwitchKey>(key.kind)) {
    if (!value.is_boolean()) return bad;
    return SetFromText(key, config, *value.value<bool>() ? "true" : "false");
  }
  if (std::holds_alternative<NumberKey>(key.kind)) {
    if (value.is_integer()) return SetFromText(key, config, std::to_string(*value.value<int64_t>()));
    // "1.0", as Kata writes processors; half a one is no whole number.
    if (value.is_floating_point()) return SetFromText(key, config, absl::StrCat(*value.value<double>()));
    return bad;
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
  for (const AbsentKey& key : AbsentKeys()) names.insert(key.table);
  return names;
}

std::set<std::string> NamesIn(const std::string& table) {
  std::set<std::string> names;
  for (const ConfigKey& key : ConfigKeys()) {
    if (key.table == table) names.insert(key.name);
  }
  return names;
}

// As kata_keys.h compares it.
std::string ValueText(const toml::node& value) {
  if (value.is_string()) return *value.value<std::string>();
  if (value.is_boolean()) return *value.value<bool>() ? "true" : "false";
  if (value.is_integer()) return std::to_string(*value.value<int64_t>());
  if (value.is_floating_point()) return absl::StrCat(*value.value<double>());
  const toml::array* array = value.as_array();
  if (array == nullptr) return "?";
  std::vector<std::string> texts;
  for (const toml::node& entry : *array) texts.push_back(ValueText(entry));
  return absl::StrCat("[", absl::StrJoin(texts, ", "), "]");
}

// Goes on after an error: all that is wrong is told at once.
class Reader {
 public:
  Reader(std::string file, Config& config, std::string prefix, ConfigOrigins& origins)
      : file_(std::move(file)), config_(config), prefix_(std::move(prefix)), origins_(origins) {}

  void ReadAll(const toml::table& table) {
    Read(table, "");
    Tell(notes_, origins_.notes);
    Tell(errors_, origins_.errors);
  }

 private:
  void Read(const toml::table& table, const std::string& path) {
    for (const auto& [key, value] : table) {
      const std::string name(key.str());
      if (value.is_table()) {
        ReadTable(*value.as_table(), path.empty() ? name : absl::StrCat(path, ".", name));
      } else {
        ReadKey(value, path, name);
      }
    }
  }

  void ReadTable(const toml::table& table, const std::string& path) {
    const std::string why = WhyNoTable(path);
    const std::set<std::string> known = Tables();
    const bool is_known = std::any_of(known.begin(), known.end(), [&path](const std::string& name) {
      return name == path || absl::StartsWith(name, path + ".");
    });
    if (is_known || path == kNestedFactory) return Read(table, path);
    if (!why.empty()) return Fail(table, absl::StrCat("[", path, "] does not apply here: ", why));
    Fail(table, absl::StrCat("unknown table [", path, "]; did you mean [", Nearest(known, path), "]?"));
  }

  void ReadKey(const toml::node& value, const std::string& table, const std::string& name) {
    const std::string full = NameHere(absl::StrCat(table, ".", name));
    if (const ConfigKey* key = FindKey(full); key != nullptr && FullName(*key) == full) {
      const absl::Status status = SetFromToml(*key, config_, value, prefix_);
      if (!status.ok()) return Fail(value, absl::StrCat("key \"", name, "\": ", status.message()));
      origins_.keys[full] = absl::StrCat(file_, " line ", value.source().begin.line);
      return;
    }
    if (const AbsentKey* absent = FindAbsentKey(full); absent != nullptr && FullName(*absent) == full) {
      if (!absent->Accepts(ValueText(value)))
        return Fail(value, absl::StrCat("\"", name, "\" does not apply here: ", absent->text));
      notes_.emplace(LineOf(value), absl::StrCat("\"", name, "\" changes nothing here: ", absent->text));
      return;
    }
    if (!Tables().contains(table))
      return Fail(value, absl::StrCat("key \"", name, "\" stands outside of every known table"));
    Fail(value, absl::StrCat("unknown key \"", name, "\" in [", table, "]; did you mean \"",
                             Nearest(NamesIn(table), name), "\"?"));
  }

  static uint32_t LineOf(const toml::node& node) { return node.source().begin.line; }

  void Fail(const toml::node& node, const std::string& what) { errors_.emplace(LineOf(node), what); }

  void Tell(const std::multimap<uint32_t, std::string>& lines, std::vector<std::string>& to) const {
    for (const auto& [line, what] : lines)
      to.push_back(absl::StrCat("configuration \"", file_, "\" line ", line, ": ", what));
  }

  std::string file_;
  Config& config_;
  std::string prefix_;
  ConfigOrigins& origins_;
  // By their lines: the parser knows the keys by their names.
  std::multimap<uint32_t, std::string> notes_;
  std::multimap<uint32_t, std::string> errors_;
};

// `text` null: the file's own.
void ReadInto(Config& config, const std::string& file, const std::string& prefix, ConfigOrigins& origins,
              const std::string* text = nullptr) {
  origins.files.push_back(file);
  try {
    const toml::table table = text != nullptr ? toml::parse(*text, file) : toml::parse_file(file);
    Reader(file, config, prefix, origins).ReadAll(table);
  } catch (const toml::parse_error& error) {
    origins.errors.push_back(absl::StrCat("configuration \"", file, "\" line ", error.source().begin.line, ": ",
                                          std::string(error.description())));
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

absl::Status ErrorOf(const ConfigOrigins& origins) {
  if (origins.errors.empty()) return absl::OkStatus();
  const size_t named = std::min(origins.errors.size(), kErrorsNamed);
  std::string text =
      absl::StrJoin(origins.errors.begin(), origins.errors.begin() + static_cast<ptrdiff_t>(named), "; ");
  if (origins.errors.size() > named)
    absl::StrAppend(&text, "; and ", origins.errors.size() - named, " more, which \"kata-ctl config check\" names");
  return absl::InvalidArgumentError(text);
}

std::vector<std::string> DropInsOf(const std::string& file) {
  std::vector<std::string> drop_ins;
  std::error_code error;
  const auto directory = std::filesystem::path(file).parent_path() / "config.d";
  for (std::filesystem::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == ".toml") drop_ins.push_back(at->path().string());
  }
  std::sort(drop_ins.begin(), drop_ins.end());
  return drop_ins;
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
  } else {
    if (::access(config.file.c_str(), R_OK) != 0)
      return ErrnoStatus(errno, absl::StrCat("reading configuration \"", config.file, "\""));
    ReadInto(config, config.file, prefix, from);
    for (const std::string& drop_in : DropInsOf(config.file)) ReadInto(config, drop_in, prefix, from);
  }
  if (!body.empty()) ReadInto(config, kBodyName, prefix, from, &body);
  if (from.errors.empty()) {
    const absl::Status together = CheckTogether(config);
    if (!together.ok()) from.errors.emplace_back(together.message());
  }
  RETURN_IF_ERROR(ErrorOf(from));
  ReplacePrefix(config, prefix);
  return config;
}

}  // namespace kata::virtcontainers
