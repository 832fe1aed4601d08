// SPDX-License-Identifier: Apache-2.0
// ps and top: the pods of this host, a line each.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/kata-ctl/command.h"
#include "tools/kata-ctl/pods/pod_line.h"
#include "tools/kata-ctl/pods/table.h"

namespace kata::ctl {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr size_t kShownName = 20;  // of a sandbox: enough to be told apart, and to be typed
constexpr char kClear[] = "\x1b[H\x1b[2J";

struct Options {
  bool is_json = false;
  bool is_wide = false;
  int delay = 2;  // seconds
  int rounds = 0;
};

std::vector<PodLine> Look() {
  std::vector<PodLine> out;
  for (const management::Pod& pod : management::LookAtPods()) out.push_back(LineOf(pod));
  return out;
}

std::string Shown(const std::string& name, bool is_wide) { return is_wide ? name : name.substr(0, kShownName); }

absl::Status Ps(const Options& options) {
  const std::vector<PodLine> lines = Look();
  if (options.is_json) {
    Json list = Json::array();
    for (const PodLine& line : lines) list.push_back(JsonOf(line));
    fmt::print("{}\n", list.dump(2));
    return absl::OkStatus();
  }
  std::vector<Row> rows = {
      {"SANDBOX", "POD", "STATE", "CONTAINERS", "VCPUS", "MEMORY", "RESIDENT", "ACCEL", "BY", "AGE"}};
  for (const PodLine& line : lines)
    rows.push_back({Shown(line.sandbox, options.is_wide), line.pod, line.state, std::to_string(line.containers),
                    line.processors, Bytes(line.machine_bytes), Bytes(line.resident_bytes), line.accelerator,
                    line.started_by, Age(line.age_seconds)});
  fmt::print("{}", Table(rows));
  return absl::OkStatus();
}

struct Sample {
  double cpu_seconds = 0;
  Clock::time_point at;
};

// Percent of one processor since the look before; of its whole life at the first.
double Load(const PodLine& line, std::map<std::string, Sample>& before) {
  const Sample now = {line.cpu_seconds, Clock::now()};
  const auto last = before.find(line.sandbox);
  double seconds = static_cast<double>(std::max<int64_t>(line.age_seconds, 1));
  double used = line.cpu_seconds;
  if (last != before.end()) {
    seconds = std::chrono::duration<double>(now.at - last->second.at).count();
    used = line.cpu_seconds - last->second.cpu_seconds;
  }
  before[line.sandbox] = now;
  return 100 * std::max(used, 0.0) / seconds;
}

absl::Status Top(const Options& options) {
  const bool is_terminal = ::isatty(STDOUT_FILENO) == 1;
  std::map<std::string, Sample> before;
  for (int round = 0; options.rounds == 0 || round < options.rounds; ++round) {
    if (round > 0) std::this_thread::sleep_for(std::chrono::seconds(options.delay));
    std::vector<std::pair<double, PodLine>> loads;
    for (PodLine& line : Look()) {
      const double load = Load(line, before);
      loads.emplace_back(load, std::move(line));
    }
    std::stable_sort(loads.begin(), loads.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    std::vector<Row> rows = {{"CPU%", "RESIDENT", "MEMORY", "CONTAINERS", "STATE", "SANDBOX", "POD"}};
    for (const auto& [load, line] : loads)
      rows.push_back({fmt::format("{:.1f}", load), Bytes(line.resident_bytes), Bytes(line.machine_bytes),
                      std::to_string(line.containers), line.state, Shown(line.sandbox, options.is_wide), line.pod});
    fmt::print("{}{}", is_terminal ? kClear : "", Table(rows));
    std::fflush(stdout);
  }
  return absl::OkStatus();
}

}  // namespace

void AddPsCommand(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* ps = app.add_subcommand("ps", "the pods of this host, with their machines");
  ps->add_flag("--json", options->is_json, "as JSON");
  ps->add_flag("--wide", options->is_wide, "whole names");
  ps->callback([&context, options] { context.run = [options] { return Ps(*options); }; });
  CLI::App* top = app.add_subcommand("top", "the pods by the processor time that they take, again and again");
  top->add_option("-d,--delay", options->delay, "seconds between two looks")->check(CLI::Range(1, 3600));
  top->add_option("-n,--rounds", options->rounds, "how many looks; 0: until it is ended")
      ->check(CLI::NonNegativeNumber);
  top->add_flag("--wide", options->is_wide, "whole names");
  top->callback([&context, options] { context.run = [options] { return Top(*options); }; });
}

}  // namespace kata::ctl
