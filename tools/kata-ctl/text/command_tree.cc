// SPDX-License-Identifier: Apache-2.0
#include "tools/kata-ctl/text/command_tree.h"

#include <algorithm>

#include <absl/strings/str_cat.h>

namespace kata::ctl {
namespace {

constexpr char kPod[] = "POD";

void AddOption(const CLI::Option& option, CommandNode& node) {
  CommandOption made;
  made.description = option.get_description();
  if (option.get_positional()) {
    made.value = option.get_name(true);
    node.positionals.push_back(std::move(made));
    return;
  }
  for (const std::string& name : option.get_lnames()) made.names.push_back("--" + name);
  for (const std::string& name : option.get_snames()) made.names.push_back("-" + name);
  if (option.get_items_expected_max() > 0)
    made.value = option.get_type_name().empty() ? "VALUE" : option.get_type_name();
  node.options.push_back(std::move(made));
}

void Walk(const CLI::App& app, std::vector<std::string> path, std::vector<CommandNode>& out) {
  CommandNode node;
  node.path = path;
  node.description = app.get_description();
  for (const CLI::Option* option : app.get_options()) AddOption(*option, node);
  const std::vector<const CLI::App*> children = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* child : children) node.children.push_back(child->get_name());
  out.push_back(std::move(node));
  for (const CLI::App* child : children) {
    path.push_back(child->get_name());
    Walk(*child, path, out);
    path.pop_back();
  }
}

}  // namespace

bool CommandNode::TakesPod() const {
  return std::any_of(positionals.begin(), positionals.end(),
                     [](const CommandOption& one) { return one.value == kPod; });
}

std::vector<CommandNode> CommandTree(const CLI::App& app) {
  std::vector<CommandNode> out;
  Walk(app, {}, out);
  return out;
}

}  // namespace kata::ctl
