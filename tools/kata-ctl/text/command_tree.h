// SPDX-License-Identifier: Apache-2.0
// The program's commands as its parser has them, for the texts that are made of them: completions and the manual page.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace kata::ctl {

struct CommandOption {
  std::vector<std::string> names;  // "--json", "-n"
  std::string value;               // what it takes; empty: nothing
  std::string description;
};

struct CommandNode {
  std::vector<std::string> path;  // words behind the program's name; none: the program itself
  std::string description;
  std::vector<CommandOption> options;
  std::vector<CommandOption> positionals;
  std::vector<std::string> children;

  bool TakesPod() const;
};

// The program first, and every command before those below it.
std::vector<CommandNode> CommandTree(const CLI::App& app);

// For the shell, from the same tree: "bash", "zsh" or "fish".
std::string CompletionScript(const std::vector<CommandNode>& tree, const std::string& shell);
// As man reads it.
std::string ManualPage(const std::vector<CommandNode>& tree, const std::string& version);

}  // namespace kata::ctl
