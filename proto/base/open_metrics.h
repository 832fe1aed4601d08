// SPDX-License-Identifier: Apache-2.0
// Figures as text in the OpenMetrics 1.0 format, which Prometheus and its kin read. (Debian's prometheus-cpp writes the
// older format only.) Value type.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kata {

inline constexpr char kOpenMetricsType[] = "application/openmetrics-text; version=1.0.0; charset=utf-8";

class OpenMetrics {
 public:
  enum class Kind { kGauge, kCounter, kHistogram, kInfo };
  using Labels = std::vector<std::pair<std::string_view, std::string>>;

  // What is added from now on is of the family `name`, [a-z_]+ without the suffix of its kind; one begun twice is an
  // error of the caller. A family to which nothing is added is not in the text. `help`: one line.
  void Begin(Kind kind, std::string_view name, std::string_view help);
  // A gauge's or a counter's value; an info's is 1. A label without a value is left out.
  void Add(const Labels& labels, double value);
  // `counts`: of each range below one of `bounds`, and of the last, open one.
  void AddHistogram(const Labels& labels, std::span<const double> bounds, std::span<const uint64_t> counts, double sum);
  // The text, its end mark included.
  std::string Text() const { return text_ + "# EOF\n"; }

 private:
  void WriteHead();
  void WriteSample(std::string_view suffix, const Labels& labels, double value);

  Kind kind_ = Kind::kGauge;
  std::string name_;
  std::string help_;
  bool has_head_ = false;
  std::string text_;
};

}  // namespace kata
