// SPDX-License-Identifier: Apache-2.0
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_replace.h>

#include "tools/kata-ctl/text/command_tree.h"

namespace kata::ctl {
namespace {

// A line must not begin with what roff takes for a request, and its hyphens are to be typed.
std::string Roff(const std::string& text) {
  std::string out = absl::StrReplaceAll(text, {{"\\", "\\e"}, {"-", "\\-"}, {"\n", " "}});
  if (!out.empty() && (out.front() == '.' || out.front() == '\'')) out.insert(0, "\\&");
  return out;
}

void AddOptions(const std::vector<CommandOption>& options, std::string& out) {
  for (const CommandOption& option : options) {
    std::string names = absl::StrCat("\\fB", Roff(absl::StrJoin(option.names, ", ")), "\\fR");
    if (option.names.empty()) names.clear();
    const std::string value = option.value.empty() ? "" : absl::StrCat("\\fI", Roff(option.value), "\\fR");
    absl::StrAppend(&out, ".TP\n", absl::StrJoin({names, value}, names.empty() || value.empty() ? "" : " "), "\n",
                    Roff(option.description), "\n");
  }
}

}  // namespace

std::string ManualPage(const std::vector<CommandNode>& tree, const std::string& version) {
  std::string out = absl::StrCat(".TH KATA\\-CTL 8 \"\" \"kata\\-ctl ", Roff(version), "\"\n.SH NAME\n",
                                 "kata\\-ctl \\- looks after the pods of this host\n.SH SYNOPSIS\n",
                                 ".B kata\\-ctl\n\\fICOMMAND\\fR [\\fIOPTION\\fR]...\n.SH DESCRIPTION\n",
                                 Roff(tree.front().description), "\n.SH OPTIONS\n");
  AddOptions(tree.front().options, out);
  out += ".SH COMMANDS\n";
  for (size_t i = 1; i < tree.size(); ++i) {
    const CommandNode& node = tree[i];
    std::vector<std::string> arguments;
    for (const CommandOption& one : node.positionals) arguments.push_back(one.value);
    const std::string words =
        arguments.empty() ? "" : absl::StrCat(" \\fI", Roff(absl::StrJoin(arguments, " ")), "\\fR");
    absl::StrAppend(&out, ".SS \"", Roff(absl::StrJoin(node.path, " ")), words, "\"\n", Roff(node.description), "\n");
    AddOptions(node.positionals, out);
    AddOptions(node.options, out);
  }
  return out;
}

}  // namespace kata::ctl
