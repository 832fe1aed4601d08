// SPDX-License-Identifier: Apache-2.0
// What a pod's shim has logged, its guest's console among it, also when the pod is over.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <fmt/format.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"
#include "tools/kata-ctl/command.h"
#include "tools/management/ask.h"
#include "tools/management/sandboxes.h"
#include "virtcontainers/paths.h"

namespace kata::ctl {
namespace {

namespace fs = std::filesystem;

constexpr size_t kFileMax = 4u << 20;

struct Options {
  std::string pod;
  bool has_console = false;
};

// Of the pods that are over: the newest last.
std::vector<std::string> Ended() {
  std::vector<std::pair<fs::file_time_type, std::string>> found;
  std::error_code error;
  for (fs::directory_iterator at(virtcontainers::EndedDirectory(""), error), end; !error && at != end;
       at.increment(error)) {
    std::error_code gone;
    const fs::file_time_type when = fs::last_write_time(at->path(), gone);
    if (!gone) found.emplace_back(when, at->path().filename().string());
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> out;
  out.reserve(found.size());
  for (auto& [when, name] : found) out.push_back(std::move(name));
  return out;
}

absl::Status List() {
  const std::vector<std::string> ended = Ended();
  if (ended.empty()) fmt::print("no pod has ended here\n");
  for (const std::string& name : ended) fmt::print("{}\n", name);
  return absl::OkStatus();
}

absl::StatusOr<std::string> FindEnded(const std::string& word) {
  std::vector<std::string> found;
  for (const std::string& name : Ended()) {
    if (absl::StartsWith(name, word)) found.push_back(name);
  }
  if (found.size() == 1) return found.front();
  if (found.empty())
    return absl::NotFoundError(absl::StrCat("neither a pod of this host nor one of those that ended last is \"", word,
                                            "\"; kata-ctl ps and kata-ctl logs list them"));
  return absl::InvalidArgumentError(absl::StrCat("\"", word, "\" may mean any of ", absl::StrJoin(found, ", ")));
}

void PrintFile(const std::string& path) {
  const auto text = ReadFile(path, kFileMax);
  if (text.ok()) fmt::print("{}", *text);
}

absl::Status Print(const Options& options) {
  if (options.pod.empty()) return List();
  const auto live = management::FindPod(options.pod);
  if (!live.ok() && !absl::IsNotFound(live.status())) return live.status();
  if (live.ok() && options.has_console) {
    http::Question question;
    question.path = "/console";
    ASSIGN_OR_RETURN(const std::string console, management::AskShimNow(live->sandbox, question));
    fmt::print("{}", console);
    return absl::OkStatus();
  }
  std::string directory;
  if (live.ok()) {
    directory = virtcontainers::RuntimeDirectory(live->sandbox);
  } else {
    ASSIGN_OR_RETURN(const std::string name, FindEnded(options.pod));
    directory = virtcontainers::EndedDirectory(name);
  }
  if (options.has_console) {
    PrintFile(absl::StrCat(directory, "/", virtcontainers::kConsoleName));
    return absl::OkStatus();
  }
  const std::string log = absl::StrCat(directory, "/", virtcontainers::kLogName);
  PrintFile(log + ".old");
  PrintFile(log);
  return absl::OkStatus();
}

}  // namespace

void AddLogsCommand(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* logs = app.add_subcommand("logs", "what a pod's shim has logged, also when the pod is over");
  logs->add_option("POD", options->pod, "as ps shows it, or one that has ended; without it those are listed");
  logs->add_flag("--console", options->has_console, "the last lines of its guest's console instead");
  logs->callback([&context, options] { context.run = [options] { return Print(*options); }; });
}

}  // namespace kata::ctl
