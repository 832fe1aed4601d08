// SPDX-License-Identifier: Apache-2.0
#include "tools/kata-monitor/merge.h"

#include <gtest/gtest.h>

namespace kata::monitor {
namespace {

constexpr char kOne[] =
    "# TYPE kata_a gauge\n# HELP kata_a A.\nkata_a 1\n# TYPE kata_b counter\n# HELP kata_b B.\n"
    "kata_b_total{mode=\"x y\"} 2\n# EOF\n";

TEST(MergedMetrics, FamiliesStayTogetherAndSayWhose) {
  MergedMetrics merged;
  merged.Add("s1", kOne);
  merged.Add("s2", "# TYPE kata_b counter\n# HELP kata_b B.\nkata_b_total{mode=\"z\"} 3\n# EOF\n");

  EXPECT_EQ(merged.Text("# TYPE kata_monitor_x gauge\nkata_monitor_x 2\n# EOF\n"),
            "# TYPE kata_monitor_x gauge\nkata_monitor_x 2\n"
            "# TYPE kata_a gauge\n# HELP kata_a A.\nkata_a{sandbox=\"s1\"} 1\n"
            "# TYPE kata_b counter\n# HELP kata_b B.\n"
            "kata_b_total{sandbox=\"s1\",mode=\"x y\"} 2\nkata_b_total{sandbox=\"s2\",mode=\"z\"} 3\n# EOF\n");
}

TEST(MergedMetrics, LinesOfNoFamilyAreLeftOut) {
  MergedMetrics merged;
  merged.Add("s", "kata_a 1\n\n# TYPE kata_a gauge\nkata_other 1\nkata_a\nkata_a 5\nnonsense\n");

  EXPECT_EQ(merged.Text("# EOF\n"), "# TYPE kata_a gauge\nkata_a{sandbox=\"s\"} 5\n# EOF\n");
}

TEST(MergedMetrics, FamiliesAreBounded) {
  MergedMetrics merged;
  for (size_t i = 0; i < 2 * kFamiliesMax; ++i) {
    const std::string name = "kata_" + std::to_string(i);
    merged.Add("s", "# TYPE " + name + " gauge\n" + name + " 1\n");
  }
  const std::string text = merged.Text("");
  size_t count = 0;
  for (size_t at = text.find("# TYPE"); at != std::string::npos; at = text.find("# TYPE", at + 1)) ++count;
  EXPECT_EQ(count, kFamiliesMax);
}

}  // namespace
}  // namespace kata::monitor
