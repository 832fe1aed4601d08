// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <fmt/format.h>

#include "proto/base/status.h"
#include "tools/kata-ctl/check/finding.h"
#include "tools/kata-ctl/command.h"
#include "tools/kata-ctl/config_schema.h"
#include "virtcontainers/config/config.h"
#include "virtcontainers/config/kata_keys.h"
#include "virtcontainers/config/keys.h"
#include "virtcontainers/config/nearest.h"
#include "virtcontainers/sandbox/sandbox_cgroup.h"

namespace kata::ctl {
namespace {

using virtcontainers::Config;
using virtcontainers::ConfigKey;
using virtcontainers::ConfigKeys;
using virtcontainers::ConfigOrigins;
using virtcontainers::FullName;
using Json = nlohmann::ordered_json;

constexpr char kDefault[] = "default";
constexpr char kCgroupKey[] = "runtime.sandbox_cgroup_only";

struct Options {
  std::string file;
  std::vector<std::string> annotations;  // "KEY=VALUE"
  std::string key;
  bool is_json = false;
};

struct Loaded {
  Config config;
  ConfigOrigins origins;

  std::string OriginOf(const ConfigKey& key) const {
    const auto found = origins.keys.find(FullName(key));
    return found != origins.keys.end() ? found->second : kDefault;
  }
};

void PrintJson(const Json& json) { fmt::print("{}\n", json.dump(2)); }

absl::StatusOr<std::map<std::string, std::string>> AnnotationsOf(const Options& options) {
  std::map<std::string, std::string> annotations;
  for (const std::string& text : options.annotations) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos)
      return absl::InvalidArgumentError(absl::StrCat("annotation \"", text, "\": NAME=VALUE is needed"));
    const std::string name = text.substr(0, equals);
    const bool is_whole = name.rfind(virtcontainers::kAnnotationFamily, 0) == 0;
    annotations[is_whole ? name : virtcontainers::kAnnotationPrefix + name] = text.substr(equals + 1);
  }
  return annotations;
}

// The error of a wrong file or annotation is in `origins` as well, without the bound that a Status has.
absl::StatusOr<Loaded> Load(const Context& context, const Options& options, ConfigOrigins& origins) {
  Loaded loaded;
  ASSIGN_OR_RETURN(loaded.config, LoadConfig(context.prefix, options.file, "", &origins));
  ASSIGN_OR_RETURN(const auto annotations, AnnotationsOf(options));
  RETURN_IF_ERROR(ApplyAnnotations(loaded.config, annotations, &origins));
  loaded.origins = origins;
  return loaded;
}

// Files of the host that a pod cannot start without, or not as it is told to.
std::vector<std::string> MissingFiles(const Loaded& loaded) {
  std::vector<std::string> missing;
  for (const Finding& finding : CheckFiles(loaded.config)) {
    const ConfigKey* key = virtcontainers::FindKey(finding.what);
    if (finding.level != Level::kError || key == nullptr) continue;
    missing.push_back(absl::StrCat(FullName(*key), " (", loaded.OriginOf(*key), "): ", finding.text));
  }
  return missing;
}

// Each line that is wrong, and what it says that changes nothing.
absl::Status CheckLines(const ConfigOrigins& origins, const Options& options) {
  if (options.is_json) {
    PrintJson({{"good", false}, {"files", origins.files}, {"errors", origins.errors}, {"notes", origins.notes}});
  } else {
    for (const std::string& line : origins.notes) fmt::print("note {}\n", line);
    for (const std::string& line : origins.errors) fmt::print("error {}\n", line);
  }
  return absl::InvalidArgumentError(absl::StrCat(origins.errors.size(), origins.errors.size() == 1 ? " line" : " lines",
                                                 " of the configuration cannot stay as ",
                                                 origins.errors.size() == 1 ? "it is" : "they are"));
}

absl::Status Check(const Context& context, const Options& options) {
  ConfigOrigins origins;
  const absl::StatusOr<Loaded> read = Load(context, options, origins);
  if (read.ok()) {
    const absl::Status cgroups = virtcontainers::CheckCgroupsFor(read->config.sandbox_cgroup_only);
    if (!cgroups.ok())
      origins.errors.push_back(absl::StrCat("configuration ", read->OriginOf(*virtcontainers::FindKey(kCgroupKey)),
                                            ": ", cgroups.message()));
  }
  if (!origins.errors.empty()) return CheckLines(origins, options);
  ASSIGN_OR_RETURN(const Loaded loaded, read);
  const std::vector<std::string> missing = MissingFiles(loaded);
  if (options.is_json) {
    PrintJson({{"good", missing.empty()},
               {"files", loaded.origins.files},
               {"missing", missing},
               {"notes", loaded.origins.notes}});
  } else {
    for (const std::string& file : loaded.origins.files) fmt::print("read {}\n", file);
    for (const std::string& line : loaded.origins.notes) fmt::print("note {}\n", line);
    for (const std::string& line : missing) fmt::print("missing {}\n", line);
    if (missing.empty()) fmt::print("the configuration is good\n");
  }
  if (missing.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      missing.size(),
      missing.size() == 1 ? " file that the configuration names is" : " files that the configuration names are",
      " not there"));
}

absl::Status Show(const Context& context, const Options& options) {
  ConfigOrigins origins;
  ASSIGN_OR_RETURN(const Loaded loaded, Load(context, options, origins));
  if (options.is_json) {
    Json keys = Json::array();
    for (const ConfigKey& key : ConfigKeys())
      keys.push_back(
          {{"key", FullName(key)}, {"value", ValueAsJson(key, loaded.config)}, {"from", loaded.OriginOf(key)}});
    PrintJson(keys);
    return absl::OkStatus();
  }
  // A configuration file again, with what each value comes from as its comment.
  std::string table;
  for (const ConfigKey& key : ConfigKeys()) {
    if (key.table != table) fmt::print("{}[{}]\n", table.empty() ? "" : "\n", key.table);
    table = key.table;
    fmt::print("{:<56} # {}\n", absl::StrCat(key.name, " = ", ValueAsToml(key, loaded.config)), loaded.OriginOf(key));
  }
  return absl::OkStatus();
}

void ExplainAbsent(const virtcontainers::AbsentKey& key, const Options& options) {
  if (options.is_json) {
    PrintJson({{"key", FullName(key)}, {"absent", true}, {"accepted", key.accepted}, {"text", key.text}});
    return;
  }
  fmt::print("[{}] {}\n\nKata has it; there is no such key here: {}.\n\n", key.table, key.name, key.text);
  fmt::print("value:      {}\n", virtcontainers::AcceptedValues(key));
}

absl::Status Explain(const Options& options) {
  const ConfigKey* key = virtcontainers::FindKey(virtcontainers::NameHere(options.key));
  if (key == nullptr) {
    std::vector<std::string> same;
    for (const ConfigKey& one : ConfigKeys()) {
      if (one.name == options.key) same.push_back(FullName(one));
    }
    if (!same.empty())
      return absl::InvalidArgumentError(
          absl::StrCat("several tables have \"", options.key, "\": say which, ", absl::StrJoin(same, " or ")));
    if (const virtcontainers::AbsentKey* absent = virtcontainers::FindAbsentKey(options.key)) {
      ExplainAbsent(*absent, options);
      return absl::OkStatus();
    }
  }
  if (key == nullptr) {
    std::set<std::string> names;
    for (const ConfigKey& known : ConfigKeys())
      names.insert(options.key.find('.') == std::string::npos ? known.name : FullName(known));
    return absl::NotFoundError(absl::StrCat("there is no key \"", options.key, "\"; did you mean \"",
                                            virtcontainers::Nearest(names, options.key), "\"?"));
  }
  const Config defaults;
  const std::string annotation =
      key->annotation.empty() ? "" : absl::StrCat(virtcontainers::kAnnotationPrefix, key->annotation);
  if (options.is_json) {
    PrintJson({{"key", FullName(*key)},
               {"values", LegalValues(*key)},
               {"unit", key->unit},
               {"default", ValueAsJson(*key, defaults)},
               {"annotation", annotation},
               {"text", key->doc}});
    return absl::OkStatus();
  }
  fmt::print("[{}] {}\n\n{}\n\n", key->table, key->name, key->doc);
  fmt::print("value:      {}{}\n", LegalValues(*key), key->unit.empty() ? "" : absl::StrCat(", in ", key->unit));
  fmt::print("default:    {}\n", ValueAsToml(*key, defaults));
  fmt::print("annotation: {}\n", annotation.empty() ? "none: no pod can set it"
                                                    : absl::StrCat(annotation, ", once enable_annotations names it"));
  return absl::OkStatus();
}

CLI::App* Add(CLI::App& to, const std::string& name, const std::string& text, Context& context,
              std::function<absl::Status()> run) {
  CLI::App* command = to.add_subcommand(name, text);
  command->callback([&context, run = std::move(run)] { context.run = run; });
  return command;
}

}  // namespace

void AddConfigCommand(CLI::App& app, Context& context) {
  CLI::App* config = app.add_subcommand("config", "what the configuration is and means");
  config->require_subcommand(1);
  auto options = std::make_shared<Options>();
  CLI::App* check = Add(*config, "check", "whether it can be read, and the files that it names are there", context,
                        [&context, options] { return Check(context, *options); });
  CLI::App* show = Add(*config, "show", "each value that counts, and where it comes from", context,
                       [&context, options] { return Show(context, *options); });
  CLI::App* explain = Add(*config, "explain", "what a key means", context, [options] { return Explain(*options); });
  Add(*config, "schema", "a JSON Schema of the configuration file, for editors", context, [] {
    PrintJson(ConfigSchema());
    return absl::OkStatus();
  });
  for (CLI::App* command : {check, show}) {
    command->add_option("--config", options->file,
                        "this file instead of /etc/kata-containers/configuration.toml or the installation's");
    command->add_option("--annotation", options->annotations,
                        "NAME=VALUE as a pod gives it, with or without io.katacontainers.config.; any number");
  }
  explain->add_option("key", options->key, "kernel, or hypervisor.qemu.kernel")->required();
  for (CLI::App* command : {check, show, explain}) command->add_flag("--json", options->is_json, "as JSON");
}

}  // namespace kata::ctl
