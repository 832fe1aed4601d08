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
};

// Whether the host can run pods.
void AddCheckCommand(CLI::App& app, Context& context);
// config check, show, explain, schema.
void AddConfigCommand(CLI::App& app, Context& context);

}  // namespace kata::ctl
