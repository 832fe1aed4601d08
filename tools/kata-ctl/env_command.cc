// SPDX-License-Identifier: Apache-2.0
// env and version: of which versions the parts are that a pod here is made of.
#include <sys/utsname.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "proto/base/fd.h"
#include "proto/base/sha256.h"
#include "proto/base/version.h"
#include "tools/kata-ctl/command.h"
#include "tools/kata-ctl/support/run_program.h"
#include "virtcontainers/config/config.h"
#include "virtcontainers/share/virtiofsd_words.h"

namespace kata::ctl {
namespace {

using Facts = std::vector<std::pair<std::string, std::string>>;

constexpr std::chrono::seconds kProgramTimeout{20};
constexpr size_t kFileMax = 1u << 20;
constexpr size_t kGuestFileMax = 256u << 20;
constexpr size_t kShownDigest = 16;

struct Options {
  std::string file;
  bool is_json = false;
};

// What a program says of its version: its first line.
std::string VersionOf(const std::string& program, const char* flag) {
  if (program.empty()) return "none";
  const auto text = RunProgram({program, flag}, kProgramTimeout);
  if (!text.ok()) return absl::StrCat(program, ": ", text.status().message());
  return absl::StrCat(program, ": ", std::string(absl::StripAsciiWhitespace(text->substr(0, text->find('\n')))));
}

// Behind `key` in a file of such lines.
std::string ValueOf(const std::string& file, absl::string_view key) {
  const auto text = ReadFile(file, kFileMax);
  if (!text.ok()) return "";
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    if (!absl::ConsumePrefix(&line, key)) continue;
    line = absl::StripLeadingAsciiWhitespace(line);
    absl::ConsumePrefix(&line, ":");
    absl::ConsumePrefix(&line, "=");
    line = absl::StripAsciiWhitespace(line);
    absl::ConsumePrefix(&line, "\"");
    absl::ConsumeSuffix(&line, "\"");
    return std::string(line);
  }
  return "";
}

std::string FileWithDigest(const std::string& path) {
  const auto bytes = ReadFile(path, kGuestFileMax);
  if (!bytes.ok()) return std::string(bytes.status().message());
  return absl::StrCat(path, ": sha256 ", Sha256Hex(*bytes).substr(0, kShownDigest));
}

absl::StatusOr<Facts> Gather(const Context& context, const Options& options) {
  Facts facts = {{"kata-ctl", BuildText()}, {"shim", VersionOf(context.prefix + "/bin/containerd-shim-kata-v2", "-v")}};
  auto config = virtcontainers::LoadConfig(context.prefix, options.file);
  if (!config.ok()) return config.status();
  const auto virtiofsd = config->virtio_fs_daemon.empty() ? virtcontainers::FindVirtiofsd()
                                                          : absl::StatusOr<std::string>(config->virtio_fs_daemon);
  utsname names{};
  ::uname(&names);
  facts.emplace_back("configuration", config->file);
  facts.emplace_back("kernel of the guest", FileWithDigest(config->kernel));
  facts.emplace_back("initrd of the guest", FileWithDigest(config->initrd));
  facts.emplace_back("emulator", VersionOf(config->path, "--version"));
  facts.emplace_back("virtiofsd", virtiofsd.ok() ? VersionOf(*virtiofsd, "--version") : "none");
  facts.emplace_back("system", ValueOf("/etc/os-release", "PRETTY_NAME"));
  facts.emplace_back("kernel of the host", absl::StrCat(names.release, " ", names.machine));
  facts.emplace_back("processor", ValueOf("/proc/cpuinfo", "model name"));
  facts.emplace_back("memory", ValueOf("/proc/meminfo", "MemTotal"));
  return facts;
}

absl::Status Env(const Context& context, const Options& options) {
  auto facts = Gather(context, options);
  if (!facts.ok()) return facts.status();
  if (options.is_json) {
    nlohmann::ordered_json json = nlohmann::ordered_json::object();
    for (const auto& [name, value] : *facts) json[name] = value;
    fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    return absl::OkStatus();
  }
  for (const auto& [name, value] : *facts) fmt::print("{:<20} {}\n", name, value);
  return absl::OkStatus();
}

}  // namespace

void AddEnvCommands(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* env = app.add_subcommand("env", "the versions of all that a pod of this host is made of");
  env->add_option("--config", options->file, "this file instead of the one that pods here have");
  env->add_flag("--json", options->is_json, "as JSON");
  env->callback([&context, options] { context.run = [&context, options] { return Env(context, *options); }; });
  CLI::App* version = app.add_subcommand("version", "the version and the commit of kata-ctl and of the shim beside it");
  version->callback([&context] {
    context.run = [&context] {
      fmt::print("kata-ctl {}\n{}\n", BuildText(), VersionOf(context.prefix + "/bin/containerd-shim-kata-v2", "-v"));
      return absl::OkStatus();
    };
  });
}

}  // namespace kata::ctl
