// SPDX-License-Identifier: Apache-2.0
#include "tools/kata-ctl/support/redact.h"

#include <algorithm>
#include <array>

#include <absl/strings/ascii.h>

namespace kata::ctl {
namespace {

constexpr std::array<std::string_view, 10> kSecretWords = {"password",    "passwd",       "passphrase", "secret",
                                                           "token",       "api_key",      "apikey",     "credential",
                                                           "private_key", "authorization"};
constexpr std::string_view kHidden = "[redacted]";

bool IsNamePart(char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-'; }

// Where a secret's word begins at or behind `from`, and its end in `end`.
size_t FindWord(const std::string& lower, size_t from, size_t& end) {
  size_t first = std::string::npos;
  for (const std::string_view word : kSecretWords) {
    const size_t at = lower.find(word, from);
    if (at >= first) continue;
    first = at;
    end = at + word.size();
  }
  return first;
}

// Of the value: behind quotes, spaces and one '=' or ':'. npos when there is none.
size_t BeginOfValue(std::string_view text, size_t at) {
  while (at < text.size() && (IsNamePart(text[at]) || text[at] == '"' || text[at] == '\\')) ++at;
  while (at < text.size() && text[at] == ' ') ++at;
  if (at >= text.size() || (text[at] != '=' && text[at] != ':')) return std::string_view::npos;
  ++at;
  while (at < text.size() && (text[at] == ' ' || text[at] == '"' || text[at] == '\\')) ++at;
  return at < text.size() && text[at] != '\n' ? at : std::string_view::npos;
}

}  // namespace

std::string Redacted(std::string_view text) {
  const std::string lower = absl::AsciiStrToLower({text.data(), text.size()});
  std::string out;
  size_t copied = 0;
  size_t end = 0;
  for (size_t word = FindWord(lower, 0, end); word != std::string::npos; word = FindWord(lower, end, end)) {
    const size_t value = BeginOfValue(text, end);
    if (value == std::string_view::npos) continue;
    // A scheme stands before an authorization's value.
    const bool has_scheme = lower.compare(value, 7, "bearer ") == 0 || lower.compare(value, 6, "basic ") == 0;
    const char* const ends = has_scheme ? "\"\n,;" : " \"\n,;";
    const size_t value_end = std::min(text.find_first_of(ends, value), text.size());
    out.append(text.substr(copied, value - copied)).append(kHidden);
    copied = value_end;
    end = value_end;
  }
  return out.append(text.substr(copied));
}

}  // namespace kata::ctl
