// SPDX-License-Identifier: Apache-2.0
#include "shimv2/logger_uri.h"

#include <algorithm>

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>

namespace kata::shimv2 {
namespace {

constexpr char kPlainScheme[] = "binary://";
constexpr char kReadyScheme[] = "binary-v2://";

int Nibble(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// A decoded NUL would end the word early where it is handed to the kernel.
bool Unescape(absl::string_view text, bool plus_is_space, std::string& out) {
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = i + 2 < text.size() ? Nibble(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? Nibble(text[i + 2]) : -1;
      if (high < 0 || low < 0) return false;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (c == '\0') return false;
    out += c;
  }
  return true;
}

}  // namespace

bool IsLoggerUri(const std::string& uri) {
  return absl::StartsWith(uri, kPlainScheme) || absl::StartsWith(uri, kReadyScheme);
}

absl::StatusOr<LoggerCommand> ParseLoggerUri(const std::string& uri) {
  const auto broken = [&uri](const char* why) {
    return absl::InvalidArgumentError(absl::StrCat("reading logger \"", uri, "\": ", why));
  };
  LoggerCommand out;
  absl::string_view rest = uri;
  out.must_say_ready = absl::ConsumePrefix(&rest, kReadyScheme);
  if (!out.must_say_ready && !absl::ConsumePrefix(&rest, kPlainScheme)) return broken("its scheme is not binary");
  rest = rest.substr(0, rest.find('#'));
  const size_t question = rest.find('?');
  std::string path;
  if (!Unescape(rest.substr(0, question), false, path)) return broken("an escape in its path is not valid");
  if (path.empty() || path[0] != '/') return broken("its path is not absolute");
  out.words.push_back(std::move(path));
  if (question == absl::string_view::npos) return out;
  std::vector<std::string> keys;
  for (const absl::string_view pair : absl::StrSplit(rest.substr(question + 1), '&', absl::SkipEmpty())) {
    const size_t equals = pair.find('=');
    const bool has_value = equals != absl::string_view::npos;
    std::string key;
    std::string value;
    if (!Unescape(pair.substr(0, equals), true, key)) return broken("an escape in its query is not valid");
    if (has_value && !Unescape(pair.substr(equals + 1), true, value)) {
      return broken("an escape in its query is not valid");
    }
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
    keys.push_back(key);
    out.words.push_back(std::move(key));
    out.words.push_back(std::move(value));
  }
  return out;
}

}  // namespace kata::shimv2
