// SPDX-License-Identifier: Apache-2.0
// What a pod's shim says of it: inspect, stats, timeline, metrics, console, log-level.
#include <fstream>
#include <functional>
#include <memory>
#include <utility>

#include <absl/strings/str_cat.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "proto/base/status.h"
#include "tools/kata-ctl/command.h"
#include "tools/kata-ctl/pods/pod_line.h"
#include "tools/kata-ctl/pods/table.h"
#include "tools/kata-ctl/pods/timeline_picture.h"
#include "tools/management/ask.h"
#include "tools/management/sandboxes.h"

namespace kata::ctl {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kNsPerMs = 1e6;

struct Options {
  std::string pod;
  bool is_json = false;
  std::string svg;
  std::string level;
};

absl::StatusOr<std::string> Page(const Options& options, http::Question question) {
  ASSIGN_OR_RETURN(const management::Pod pod, management::FindPod(options.pod));
  return management::AskShimNow(pod.sandbox, question);
}

absl::StatusOr<std::string> Page(const Options& options, const std::string& path) {
  http::Question question;
  question.path = path;
  return Page(options, std::move(question));
}

absl::StatusOr<Json> JsonPage(const Options& options, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, Page(options, path));
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::InternalError(absl::StrCat("reading ", path, ": this is no JSON"));
  return json;
}

// As it came.
absl::Status Show(const Options& options, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, Page(options, path));
  fmt::print("{}", text);
  return absl::OkStatus();
}

absl::Status Stats(const Options& options) {
  if (options.is_json) return Show(options, "/stats");
  ASSIGN_OR_RETURN(const Json stats, JsonPage(options, "/stats"));
  const Json memory = stats.value("guest_memory", Json::object());
  fmt::print("guest memory: {} of {} available\n", Bytes(memory.value("available", uint64_t{0})),
             Bytes(memory.value("total", uint64_t{0})));
  std::vector<Row> rows = {{"CONTAINER", "CPU", "MEMORY", "PROCESSES", "OOM KILLS"}};
  for (const Json& one : stats.value("containers", Json::array()))
    rows.push_back({TextOf(one, "id"), fmt::format("{:.2f} s", one.value("cpu_seconds", 0.0)),
                    Bytes(one.value("memory_bytes", uint64_t{0})), std::to_string(one.value("processes", uint64_t{0})),
                    std::to_string(one.value("oom_kills", uint64_t{0}))});
  fmt::print("{}", Table(rows));
  return absl::OkStatus();
}

absl::Status Timeline(const Options& options) {
  if (options.is_json) return Show(options, "/timeline");
  ASSIGN_OR_RETURN(const Json page, JsonPage(options, "/timeline"));
  std::vector<TimelineStep> steps;
  for (const Json& one : page) steps.push_back({TextOf(one, "step"), one.value("at_ns", int64_t{0})});
  if (!options.svg.empty()) {
    std::ofstream file(options.svg);
    file << TimelinePicture(steps) << std::flush;
    if (!file) return absl::UnavailableError(absl::StrCat("writing \"", options.svg, "\": it cannot be written"));
    return absl::OkStatus();
  }
  std::vector<Row> rows = {{"AT", "TOOK", "STEP"}};
  for (size_t i = 0; i < steps.size(); ++i)
    rows.push_back(
        {fmt::format("{:.1f} ms", static_cast<double>(steps[i].at_ns - steps[0].at_ns) / kNsPerMs),
         fmt::format("{:.1f} ms", static_cast<double>(steps[i].at_ns - steps[i > 0 ? i - 1 : 0].at_ns) / kNsPerMs),
         steps[i].step});
  fmt::print("{}", Table(rows));
  return absl::OkStatus();
}

absl::Status SetLevel(const Options& options) {
  http::Question question;
  question.method = "PUT";
  question.path = "/log-level";
  question.body = options.level;
  return Page(options, std::move(question)).status();
}

}  // namespace

void AddPodCommands(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  const auto add = [&app, &context, options](const char* name, const char* what,
                                             std::function<absl::Status(const Options&)> run) {
    CLI::App* command = app.add_subcommand(name, what);
    command->add_option("POD", options->pod, "sandbox, container or pod, as ps shows it; the beginning of an id does")
        ->required();
    command->callback([&context, options, run] { context.run = [options, run] { return run(*options); }; });
    return command;
  };
  const auto page = [](const char* path) { return [path](const Options& given) { return Show(given, path); }; };
  add("inspect", "all that a pod's shim knows of it, as JSON", page("/state"));
  add("metrics", "a pod's figures, in the OpenMetrics format", page("/metrics"));
  add("console", "the last lines of a guest's console", page("/console"));
  CLI::App* stats = add("stats", "what the containers of a pod take, in its guest", Stats);
  stats->add_flag("--json", options->is_json, "as JSON");
  CLI::App* timeline = add("timeline", "the steps of a pod's start, and how long each took", Timeline);
  timeline->add_flag("--json", options->is_json, "as JSON");
  timeline->add_option("--svg", options->svg, "draw it into this file instead");
  CLI::App* level = add("log-level", "changes what a pod's shim logs", SetLevel);
  level->add_option("LEVEL", options->level, "debug, info, warning or error")
      ->required()
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
}

}  // namespace kata::ctl
