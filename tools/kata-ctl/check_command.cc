// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include <absl/strings/str_cat.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "proto/base/status.h"
#include "tools/kata-ctl/check/finding.h"
#include "tools/kata-ctl/command.h"
#include "virtcontainers/config/config.h"

namespace kata::ctl {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string file;
  bool is_json = false;
};

struct LevelWords {
  Level level;
  const char* name;
  const char* colour;  // on a terminal
};

constexpr LevelWords kLevels[] = {{Level::kGood, "good", "\x1b[32m"},
                                  {Level::kNote, "note", "\x1b[36m"},
                                  {Level::kWarning, "warning", "\x1b[33m"},
                                  {Level::kError, "error", "\x1b[31m"}};

const LevelWords& WordsOf(Level level) {
  return *std::find_if(std::begin(kLevels), std::end(kLevels),
                       [level](const LevelWords& words) { return words.level == level; });
}

void Add(Findings& all, Findings more) {
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

Findings LookAtAll(const Context& context, const Options& options) {
  Findings all;
  auto config = virtcontainers::LoadConfig(context.prefix, options.file);
  if (!config.ok())
    all.push_back({"configuration", Level::kError, std::string(config.status().message()),
                   "kata-ctl config explain KEY says what a key means"});
  else
    all.push_back({"configuration", Level::kGood, config->file, ""});
  // The rest is worth a look all the same.
  virtcontainers::Config used;
  if (config.ok()) used = *std::move(config);
  if (all.front().level == Level::kGood) Add(all, CheckFiles(used));
  const bool are_files_good =
      std::all_of(all.begin(), all.end(), [](const Finding& one) { return one.level == Level::kGood; });
  Add(all, CheckPrograms(used));
  // Boots a machine, for which it needs them.
  if (are_files_good) all.push_back(CheckAccelerator(used));
  all.push_back(CheckNetwork(used));
  all.push_back(CheckCgroups(used));
  Add(all, CheckRoom(used));
  Add(all, CheckContainerd(context.prefix + "/bin/containerd-shim-kata-v2"));
  return all;
}

void Print(const Findings& findings) {
  const bool has_colours = ::isatty(STDOUT_FILENO) == 1;
  for (const Finding& finding : findings) {
    const std::string level = fmt::format("{:<8}", WordsOf(finding.level).name);
    fmt::print("{} {}: {}\n", has_colours ? absl::StrCat(WordsOf(finding.level).colour, level, "\x1b[0m") : level,
               finding.what, finding.text);
    if (finding.level != Level::kGood && !finding.fix.empty()) fmt::print("         do: {}\n", finding.fix);
  }
}

absl::Status Check(const Context& context, const Options& options) {
  if (::geteuid() != 0) return absl::PermissionDeniedError("check: only root can look at all of it");
  const Findings findings = LookAtAll(context, options);
  if (options.is_json) {
    Json list = Json::array();
    for (const Finding& one : findings)
      list.push_back({{"what", one.what}, {"level", WordsOf(one.level).name}, {"text", one.text}, {"fix", one.fix}});
    fmt::print("{}\n", list.dump(2));
  } else {
    Print(findings);
  }
  const auto errors =
      std::count_if(findings.begin(), findings.end(), [](const Finding& one) { return one.level == Level::kError; });
  if (errors == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("no pod will start here: ", errors, errors == 1 ? " error" : " errors"));
}

}  // namespace

void AddCheckCommand(CLI::App& app, Context& context) {
  CLI::App* check = app.add_subcommand("check", "whether this host can run pods, and what to do where it cannot");
  auto options = std::make_shared<Options>();
  check->add_option("--config", options->file,
                    "this file instead of /etc/kata-containers/configuration.toml or the installation's");
  check->add_flag("--json", options->is_json, "as JSON");
  check->callback([&context, options] { context.run = [&context, options] { return Check(context, *options); }; });
}

}  // namespace kata::ctl
