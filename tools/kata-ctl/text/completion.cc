// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_replace.h>

#include "tools/kata-ctl/text/command_tree.h"

namespace kata::ctl {
namespace {

// Pods by the names of their sandboxes, which need no quoting.
constexpr char kPods[] = "$(kata-ctl ps --wide 2>/dev/null | awk 'NR > 1 { print $1 }')";

std::vector<std::string> WordsOf(const CommandNode& node) {
  std::vector<std::string> words = node.children;
  for (const CommandOption& option : node.options) words.insert(words.end(), option.names.begin(), option.names.end());
  return words;
}

std::string Quoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

// "case PATH": the words that may follow there. The same in both shells.
std::string Cases(const std::vector<CommandNode>& tree) {
  std::string out;
  for (const CommandNode& node : tree)
    absl::StrAppend(&out, "    ", Quoted(absl::StrJoin(node.path, " ")), ") words=\"",
                    absl::StrJoin(WordsOf(node), " "), node.TakesPod() ? absl::StrCat(" ", kPods) : "", "\" ;;\n");
  return out;
}

// The commands among the words before the one that is typed.
std::string KnownPaths(const std::vector<CommandNode>& tree) {
  std::vector<std::string> paths;
  for (const CommandNode& node : tree) {
    if (!node.path.empty()) paths.push_back(Quoted(absl::StrJoin(node.path, " ")));
  }
  return absl::StrJoin(paths, "|");
}

std::string Bash(const std::vector<CommandNode>& tree) {
  return absl::StrCat(
      "# bash completion of kata-ctl\n_kata_ctl() {\n"
      "  local path=\"\" words=\"\" word\n"
      "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
      "    case \"${path:+$path }$word\" in\n      ",
      KnownPaths(tree), ") path=\"${path:+$path }$word\" ;;\n    esac\n  done\n  case \"$path\" in\n", Cases(tree),
      "  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\n"
      "complete -o default -F _kata_ctl kata-ctl\n");
}

// Zsh's own words are in its array `words`.
std::string Zsh(const std::vector<CommandNode>& tree) {
  std::string cases;
  for (const CommandNode& node : tree)
    absl::StrAppend(&cases, "  ", Quoted(absl::StrJoin(node.path, " ")), ") candidates=(",
                    absl::StrJoin(WordsOf(node), " "), node.TakesPod() ? absl::StrCat(" ${(f)\"", kPods, "\"}") : "",
                    ") ;;\n");
  return absl::StrCat(
      "#compdef kata-ctl\nlocal path_now=\"\" word\nlocal -a candidates\n"
      "for word in \"${(@)words[2,CURRENT-1]}\"; do\n"
      "  case \"${path_now:+$path_now }$word\" in\n    ",
      KnownPaths(tree), ") path_now=\"${path_now:+$path_now }$word\" ;;\n  esac\ndone\ncase \"$path_now\" in\n", cases,
      "esac\ncompadd -- $candidates\n");
}

std::string FishCondition(const CommandNode& node) {
  if (node.path.empty()) return "__fish_use_subcommand";
  std::string out = absl::StrCat("__fish_seen_subcommand_from ", node.path.back());
  if (!node.children.empty())
    absl::StrAppend(&out, "; and not __fish_seen_subcommand_from ", absl::StrJoin(node.children, " "));
  return out;
}

std::string Fish(const std::vector<CommandNode>& tree) {
  std::string out = "# fish completion of kata-ctl\ncomplete -c kata-ctl -f\n";
  for (const CommandNode& node : tree) {
    const std::string begin = absl::StrCat("complete -c kata-ctl -n ", Quoted(FishCondition(node)));
    for (const CommandNode& child : tree) {
      if (child.path.size() != node.path.size() + 1 ||
          !std::equal(node.path.begin(), node.path.end(), child.path.begin()))
        continue;
      absl::StrAppend(&out, begin, " -a ", child.path.back(), " -d ", Quoted(child.description), "\n");
    }
    for (const CommandOption& option : node.options) {
      out += begin;
      for (const std::string& name : option.names)
        absl::StrAppend(&out,
                        name.size() > 2 ? absl::StrCat(" -l ", name.substr(2)) : absl::StrCat(" -s ", name.substr(1)));
      absl::StrAppend(&out, option.value.empty() ? "" : " -r -F", " -d ", Quoted(option.description), "\n");
    }
    if (node.TakesPod())
      absl::StrAppend(&out, begin, " -a \"(kata-ctl ps --wide 2>/dev/null | awk 'NR > 1 { print \\$1 }')\"\n");
  }
  return out;
}

}  // namespace

std::string CompletionScript(const std::vector<CommandNode>& tree, const std::string& shell) {
  if (shell == "zsh") return Zsh(tree);
  return shell == "fish" ? Fish(tree) : Bash(tree);
}

}  // namespace kata::ctl
