// SPDX-License-Identifier: Apache-2.0
#include "shimv2/stdio/logger_uri.h"

#include <algorithm>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <boost/url/param.hpp>
#include <boost/url/params_view.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

namespace kata::shimv2 {
namespace {

constexpr char kPlainScheme[] = "binary";
constexpr char kReadyScheme[] = "binary-v2";

bool HasNul(const std::string& text) { return text.find('\0') != std::string::npos; }

}  // namespace

bool IsLoggerUri(const std::string& uri) {
  return absl::StartsWith(uri, absl::StrCat(kPlainScheme, "://")) ||
         absl::StartsWith(uri, absl::StrCat(kReadyScheme, "://"));
}

absl::StatusOr<LoggerCommand> ParseLoggerUri(const std::string& uri) {
  const auto broken = [&uri](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("reading logger \"", uri, "\": ", why));
  };
  if (!IsLoggerUri(uri)) return broken("its scheme is not binary");
  const auto parsed = boost::urls::parse_uri(uri);
  if (!parsed) return broken(parsed.error().message());
  LoggerCommand out;
  out.must_say_ready = parsed->scheme() == kReadyScheme;
  out.words.push_back(parsed->path());
  if (!parsed->host().empty() || !absl::StartsWith(out.words[0], "/")) return broken("its path is not absolute");
  boost::urls::encoding_opts form;
  form.space_as_plus = true;
  std::vector<std::string> keys;
  for (const boost::urls::param& param : parsed->params(form)) {
    if (param.key.empty() && !param.has_value) continue;
    if (std::find(keys.begin(), keys.end(), param.key) != keys.end()) continue;
    keys.push_back(param.key);
    out.words.push_back(param.key);
    out.words.push_back(param.value);
  }
  // It would end the word early where it is handed to the kernel.
  if (std::any_of(out.words.begin(), out.words.end(), HasNul)) return broken("it has a NUL byte");
  return out;
}

}  // namespace kata::shimv2
