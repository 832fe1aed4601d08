// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bootstrap/arguments.h"

#include <map>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

namespace kata::shimv2 {
namespace {

constexpr char kSeeHelp[] = "; -help says who runs this program, and how";

}  // namespace

absl::StatusOr<Arguments> ParseArguments(const std::vector<std::string>& words) {
  Arguments out;
  std::string unused;
  const std::map<std::string, std::string*> text_flags = {{"namespace", &out.name_space},
                                                          {"address", &out.address},
                                                          {"publish-binary", &out.publish_binary},
                                                          {"id", &out.id},
                                                          {"bundle", &out.bundle},
                                                          {"socket", &unused},
                                                          {"debug-socket", &unused}};
  const std::map<std::string, bool*> switches = {{"debug", &out.debug}, {"v", &out.version}, {"version", &out.version},
                                                 {"info", &out.info},   {"h", &out.help},    {"help", &out.help}};
  for (size_t i = 0; i < words.size(); ++i) {
    std::string word = words[i];
    if (word.size() < 2 || word[0] != '-') {
      out.action = word;
      break;
    }
    word.erase(0, word[1] == '-' ? 2 : 1);
    const size_t equals = word.find('=');
    const bool has_value = equals != std::string::npos;
    const std::string name = word.substr(0, equals);
    std::string value = has_value ? word.substr(equals + 1) : "";
    if (auto flag = switches.find(name); flag != switches.end()) {
      *flag->second = !has_value || value == "true" || value == "1";
      continue;
    }
    auto flag = text_flags.find(name);
    if (flag == text_flags.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("reading the command line: unknown flag \"-", name, "\"", kSeeHelp));
    }
    if (!has_value) {
      if (i + 1 == words.size()) {
        return absl::InvalidArgumentError(absl::StrCat("reading the command line: flag \"-", name, "\" needs a value"));
      }
      value = words[++i];
    }
    *flag->second = value;
  }
  if (out.version || out.info || out.help) return out;
  if (out.name_space.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("reading the command line: flag \"-namespace\" is missing", kSeeHelp));
  }
  if (out.id.empty() || out.id.size() > 76 || out.id == "." || out.id == ".." || absl::StrContains(out.id, '/')) {
    return absl::InvalidArgumentError(
        absl::StrCat("reading the command line: flag \"-id\" needs a container id, not \"", out.id, "\""));
  }
  return out;
}

}  // namespace kata::shimv2
