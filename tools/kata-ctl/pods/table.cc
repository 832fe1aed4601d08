// SPDX-License-Identifier: Apache-2.0
#include "tools/kata-ctl/pods/table.h"

#include <algorithm>

#include <absl/strings/ascii.h>
#include <fmt/format.h>

namespace kata::ctl {
namespace {

constexpr uint64_t kStep = 1024;
constexpr int64_t kMinute = 60;
constexpr int64_t kHour = 60 * kMinute;
constexpr int64_t kDay = 24 * kHour;

// Names are their users' choice, and this goes to a terminal.
void Clean(std::string& word) {
  for (char& c : word) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = '?';
  }
}

}  // namespace

std::string Table(std::vector<Row> rows) {
  std::vector<size_t> widths;
  for (Row& row : rows) {
    for (std::string& word : row) Clean(word);
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const Row& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i) out += fmt::format("{:<{}}  ", row[i], widths[i]);
    if (!row.empty()) out += row.back();
    out += '\n';
  }
  return out;
}

std::string Bytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  auto value = static_cast<double>(bytes);
  for (; value >= kStep && unit + 1 < std::size(kUnits); ++unit) value /= kStep;
  return value < 10 && unit > 0 ? fmt::format("{:.1f} {}", value, kUnits[unit])
                                : fmt::format("{:.0f} {}", value, kUnits[unit]);
}

std::string Age(int64_t seconds) {
  seconds = std::max<int64_t>(seconds, 0);
  if (seconds < kMinute) return fmt::format("{}s", seconds);
  if (seconds < kHour) return fmt::format("{}m", seconds / kMinute);
  if (seconds < kDay) return fmt::format("{}h", seconds / kHour);
  return fmt::format("{}d", seconds / kDay);
}

}  // namespace kata::ctl
