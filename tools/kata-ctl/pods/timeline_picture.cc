// SPDX-License-Identifier: Apache-2.0
#include "tools/kata-ctl/pods/timeline_picture.h"

#include <algorithm>

#include <fmt/format.h>

namespace kata::ctl {
namespace {

constexpr double kNsPerMs = 1e6;
constexpr double kWidth = 900;
constexpr double kNames = 260;  // to the left of the bars
constexpr double kTimes = 90;   // to the right
constexpr double kRow = 24;

std::string Escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else if (static_cast<unsigned char>(c) >= 0x20)
      out += c;
  }
  return out;
}

}  // namespace

std::string TimelinePicture(const std::vector<TimelineStep>& steps) {
  const double height = kRow * (static_cast<double>(steps.size()) + 1);
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" "
      "font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
      kWidth, height);
  if (steps.empty()) return out + "</svg>\n";
  const int64_t begin = steps.front().at_ns;
  const double whole = std::max(static_cast<double>(steps.back().at_ns - begin), 1.0);
  const double scale = (kWidth - kNames - kTimes) / whole;
  int64_t before = begin;
  for (size_t i = 0; i < steps.size(); ++i) {
    const auto at = static_cast<double>(std::max(steps[i].at_ns - begin, int64_t{0}));
    const auto took = static_cast<double>(std::max(steps[i].at_ns - before, int64_t{0}));
    const double top = kRow * (static_cast<double>(i) + 0.5);
    const double left = kNames + (at - took) * scale;
    out += fmt::format(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n"
        "<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" fill=\"#3b78b5\"/>\n"
        "<text x=\"{:.1f}\" y=\"{}\" fill=\"#555\">{:.1f} ms</text>\n",
        kNames - 8, top + 13, Escaped(steps[i].step), left, top + 2, std::max(took * scale, 1.0), kRow - 8,
        kNames + at * scale + 6, top + 13, took / kNsPerMs);
    before = steps[i].at_ns;
  }
  return out + "</svg>\n";
}

}  // namespace kata::ctl
