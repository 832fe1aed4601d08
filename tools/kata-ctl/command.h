// SPDX-License-Identifier: Apache-2.0
// A command of kata-ctl: adds itself to the program, and is run by what it leaves there.
#pragma once

#include <functional>
#include <string>

#include <absl/status/status.h>
#include <CLI/CLI.hpp>

namespace kata::ctl {

struct Context {
  std::string prefix;                 // of the installation
  std::function<absl::Status()> run;  // of the command that was chosen
  int exit_code = 0;                  // of one that went well
};

// Whether the host can run pods.
void AddCheckCommand(CLI::App& app, Context& context);
// config check, show, explain, schema.
void AddConfigCommand(CLI::App& app, Context& context);

// env, version.
void AddEnvCommands(CLI::App& app, Context& context);
// ps, top.
void AddPsCommand(CLI::App& app, Context& context);
// inspect, stats, timeline, metrics, console, log-level.
void AddPodCommands(CLI::App& app, Context& context);
void AddExecCommand(CLI::App& app, Context& context);
void AddLogsCommand(CLI::App& app, Context& context);
void AddGcCommand(CLI::App& app, Context& context);
void AddSupportCommand(CLI::App& app, Context& context);
// completion, manual. Last: they tell of the others.
void AddTextCommands(CLI::App& app, Context& context);

}  // namespace kata::ctl
