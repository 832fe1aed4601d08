// SPDX-License-Identifier: Apache-2.0
#include "tools/kata-monitor/merge.h"

#include <fmt/format.h>

#include <absl/strings/match.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>

namespace kata::monitor {
namespace {

constexpr std::string_view kEnd = "# EOF\n";

}  // namespace

void MergedMetrics::Add(std::string_view sandbox, std::string_view page) {
  Family* family = nullptr;
  std::string name;
  bool is_first = false;
  const std::string label = fmt::format("sandbox=\"{}\"", sandbox);
  for (const absl::string_view piece : absl::StrSplit(absl::string_view(page.data(), page.size()), '\n')) {
    std::string_view line(piece.data(), piece.size());
    if (absl::StartsWith(piece, "# TYPE ") || absl::StartsWith(piece, "# HELP ")) {
      const std::string_view rest = line.substr(7);
      const std::string_view of = rest.substr(0, rest.find(' '));
      if (family == nullptr || of != name) {
        name = of;
        const auto known = families_.find(name);
        is_first = known == families_.end();
        if (is_first && families_.size() >= kFamiliesMax) {
          family = nullptr;
          continue;
        }
        family = is_first ? &families_[name] : &known->second;
      }
      if (is_first) family->head.append(line).append("\n");
      continue;
    }
    if (family == nullptr || !absl::StartsWith(piece, name)) continue;
    const size_t name_end = line.find_first_of("{ ");
    if (name_end == std::string_view::npos) continue;
    std::string& out = family->samples;
    out.append(line.substr(0, name_end)).append("{").append(label);
    if (line[name_end] == '{')
      out.append(",").append(line.substr(name_end + 1));
    else
      out.append("}").append(line.substr(name_end));
    out.append("\n");
  }
}

std::string MergedMetrics::Text(std::string_view own) const {
  std::string out(own.substr(0, own.size() - (own.ends_with(kEnd) ? kEnd.size() : 0)));
  for (const auto& [name, family] : families_) {
    out += family.head;
    out += family.samples;
  }
  return out.append(kEnd);
}

}  // namespace kata::monitor
