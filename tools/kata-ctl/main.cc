// SPDX-License-Identifier: Apache-2.0
// kata-ctl: what people ask a node about its pods and their runtime.
#include <cstdio>
#include <filesystem>
#include <string>

#include <CLI/CLI.hpp>

#include "proto/base/version.h"
#include "tools/kata-ctl/command.h"

namespace {

std::string Prefix() {
  // <prefix>/bin/kata-ctl
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path().parent_path().string();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Looks after the pods that run in virtual machines of their own, and after what they need.");
  app.set_version_flag("--version", "kata-ctl " + kata::BuildText());
  app.require_subcommand(1);
  kata::ctl::Context context;
  context.prefix = Prefix();
  kata::ctl::AddCheckCommand(app, context);
  kata::ctl::AddConfigCommand(app, context);
  kata::ctl::AddEnvCommands(app, context);
  kata::ctl::AddPsCommand(app, context);
  kata::ctl::AddPodCommands(app, context);
  kata::ctl::AddExecCommand(app, context);
  kata::ctl::AddLogsCommand(app, context);
  kata::ctl::AddGcCommand(app, context);
  kata::ctl::AddSupportCommand(app, context);
  kata::ctl::AddTextCommands(app, context);
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = context.run();
  if (status.ok()) return context.exit_code;
  std::fprintf(stderr, "kata-ctl: %s\n", std::string(status.message()).c_str());
  return 1;
}
