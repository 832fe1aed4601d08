// SPDX-License-Identifier: Apache-2.0
#include "proto/base/open_metrics.h"

#include <array>
#include <limits>

#include <gtest/gtest.h>

namespace kata {
namespace {

using Kind = OpenMetrics::Kind;

TEST(OpenMetrics, WritesEachKindWithItsSuffix) {
  OpenMetrics metrics;
  metrics.Begin(Kind::kInfo, "kata_build", "What it is.");
  metrics.Add({{"version", "1.2"}}, 7);
  metrics.Begin(Kind::kCounter, "kata_bytes", "Bytes.");
  metrics.Add({{"direction", "in"}}, 18446744073709551615.0);
  metrics.Add({{"direction", "out"}}, 12);
  metrics.Begin(Kind::kGauge, "kata_load", "Load.");
  metrics.Add({}, 0.25);
  metrics.Begin(Kind::kGauge, "kata_nothing", "Of nothing.");

  EXPECT_EQ(metrics.Text(),
            "# TYPE kata_build info\n# HELP kata_build What it is.\nkata_build_info{version=\"1.2\"} 1\n"
            "# TYPE kata_bytes counter\n# HELP kata_bytes Bytes.\n"
            "kata_bytes_total{direction=\"in\"} 1.8446744073709552e+19\nkata_bytes_total{direction=\"out\"} 12\n"
            "# TYPE kata_load gauge\n# HELP kata_load Load.\nkata_load 0.25\n# EOF\n");
}

TEST(OpenMetrics, CountsAHistogramUp) {
  OpenMetrics metrics;
  metrics.Begin(Kind::kHistogram, "kata_call_seconds", "Calls.");
  const std::array<double, 2> bounds = {0.5, 2};
  const std::array<uint64_t, 3> counts = {1, 0, 4};
  metrics.AddHistogram({{"method", "State"}}, bounds, counts, 40.5);

  EXPECT_EQ(metrics.Text(),
            "# TYPE kata_call_seconds histogram\n# HELP kata_call_seconds Calls.\n"
            "kata_call_seconds_bucket{method=\"State\",le=\"0.5\"} 1\n"
            "kata_call_seconds_bucket{method=\"State\",le=\"2\"} 1\n"
            "kata_call_seconds_bucket{method=\"State\",le=\"+Inf\"} 5\n"
            "kata_call_seconds_count{method=\"State\"} 5\nkata_call_seconds_sum{method=\"State\"} 40.5\n# EOF\n");
}

TEST(OpenMetrics, LetsNoLabelEndItsLine) {
  OpenMetrics metrics;
  metrics.Begin(Kind::kGauge, "kata_x", "X.");
  metrics.Add({{"a", "\"\n\\"}, {"b", ""}}, std::numeric_limits<double>::infinity());

  EXPECT_EQ(metrics.Text(), "# TYPE kata_x gauge\n# HELP kata_x X.\nkata_x{a=\"\\\"\\n\\\\\"} +Inf\n# EOF\n");
}

}  // namespace
}  // namespace kata
