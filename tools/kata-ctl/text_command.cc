// SPDX-License-Identifier: Apache-2.0
// completion and manual: texts made of the program's own commands, for whoever installs it.
#include <memory>
#include <string>

#include <fmt/format.h>

#include "proto/base/version.h"
#include "tools/kata-ctl/command.h"
#include "tools/kata-ctl/text/command_tree.h"

namespace kata::ctl {

void AddTextCommands(CLI::App& app, Context& context) {
  auto shell = std::make_shared<std::string>();
  CLI::App* completion = app.add_subcommand("completion", "what a shell needs to complete the words of kata-ctl");
  completion->add_option("SHELL", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->callback([&app, &context, shell] {
    context.run = [&app, shell] {
      fmt::print("{}", CompletionScript(CommandTree(app), *shell));
      return absl::OkStatus();
    };
  });
  CLI::App* manual = app.add_subcommand("manual", "the manual page, for man");
  manual->callback([&app, &context] {
    context.run = [&app] {
      fmt::print("{}", ManualPage(CommandTree(app), kBuildVersion));
      return absl::OkStatus();
    };
  });
}

}  // namespace kata::ctl
