// SPDX-License-Identifier: Apache-2.0
#include "proto/base/open_metrics.h"

#include <cmath>

#include <fmt/format.h>

namespace kata {
namespace {

std::string_view NameOf(OpenMetrics::Kind kind) {
  switch (kind) {
    case OpenMetrics::Kind::kGauge:
      return "gauge";
    case OpenMetrics::Kind::kCounter:
      return "counter";
    case OpenMetrics::Kind::kHistogram:
      return "histogram";
    case OpenMetrics::Kind::kInfo:
      return "info";
  }
  return "unknown";
}

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string Number(double value) {
  constexpr double kExact = 9007199254740992.0;  // all whole numbers below are themselves
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (std::isnan(value)) return "NaN";
  if (std::floor(value) == value && std::fabs(value) < kExact) return fmt::format("{:.0f}", value);
  return fmt::format("{}", value);
}

}  // namespace

void OpenMetrics::Begin(Kind kind, std::string_view name, std::string_view help) {
  kind_ = kind;
  name_ = name;
  help_ = help;
  has_head_ = false;
}

void OpenMetrics::WriteHead() {
  if (has_head_) return;
  has_head_ = true;
  text_ += fmt::format("# TYPE {} {}\n# HELP {} {}\n", name_, NameOf(kind_), name_, Escaped(help_));
}

void OpenMetrics::WriteSample(std::string_view suffix, const Labels& labels, double value) {
  WriteHead();
  text_ += name_;
  text_ += suffix;
  char before = '{';
  for (const auto& [name, text] : labels) {
    if (text.empty()) continue;
    text_ += fmt::format("{}{}=\"{}\"", before, name, Escaped(text));
    before = ',';
  }
  if (before == ',') text_ += '}';
  text_ += ' ' + Number(value) + '\n';
}

void OpenMetrics::Add(const Labels& labels, double value) {
  if (kind_ == Kind::kInfo) return WriteSample("_info", labels, 1);
  WriteSample(kind_ == Kind::kCounter ? "_total" : "", labels, value);
}

void OpenMetrics::AddHistogram(const Labels& labels, std::span<const double> bounds, std::span<const uint64_t> counts,
                               double sum) {
  uint64_t below = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    below += counts[i];
    Labels with_bound = labels;
    with_bound.emplace_back("le", i < bounds.size() ? fmt::format("{}", bounds[i]) : "+Inf");
    WriteSample("_bucket", with_bound, static_cast<double>(below));
  }
  WriteSample("_count", labels, static_cast<double>(below));
  WriteSample("_sum", labels, sum);
}

}  // namespace kata
