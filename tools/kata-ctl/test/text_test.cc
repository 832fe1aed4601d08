// SPDX-License-Identifier: Apache-2.0
// Tables, pictures, and the texts made of the program's commands.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/kata-ctl/pods/table.h"
#include "tools/kata-ctl/pods/timeline_picture.h"
#include "tools/kata-ctl/text/command_tree.h"

namespace kata::ctl {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Table, ColumnsAreAsWideAsTheirWidestWord) {
  EXPECT_EQ(Table({{"A", "LONG", "C"}, {"longer", "b", "c"}}), "A       LONG  C\nlonger  b     c\n");
  EXPECT_EQ(Table({}), "");
  EXPECT_EQ(Table({{"A", "B"}, {"\x1b[2J", "\n"}}), "A     B\n?[2J  ?\n");
}

TEST(Table, NumbersAreShort) {
  EXPECT_EQ(Bytes(0), "0 B");
  EXPECT_EQ(Bytes(1023), "1023 B");
  EXPECT_EQ(Bytes(1536), "1.5 KiB");
  EXPECT_EQ(Bytes(512ull << 20), "512 MiB");
  EXPECT_EQ(Age(-3), "0s");
  EXPECT_EQ(Age(59), "59s");
  EXPECT_EQ(Age(3599), "59m");
  EXPECT_EQ(Age(86400), "1d");
}

TEST(TimelinePicture, NoStepEndsItsElement) {
  const std::string picture = TimelinePicture({{"a<b>&c", 0}, {"end", 2'000'000}});
  EXPECT_THAT(picture, HasSubstr(">a&lt;b&gt;&amp;c</text>"));
  EXPECT_THAT(picture, HasSubstr("2.0 ms"));
  EXPECT_THAT(TimelinePicture({}), HasSubstr("</svg>"));
}

class TreeTest : public testing::Test {
 protected:
  TreeTest() : app_("Does .things.") {
    CLI::App* one = app_.add_subcommand("one", "the first");
    one->add_flag("--json", flag_, "as JSON");
    one->add_option("-n,--rounds", number_, "how many");
    one->add_option("POD", pod_, "which");
    app_.add_subcommand("two", "it's more")->add_subcommand("below", "deeper");
  }

  CLI::App app_;
  bool flag_ = false;
  int number_ = 0;
  std::string pod_;
};

TEST_F(TreeTest, HasEveryCommandWithWhatItTakes) {
  const std::vector<CommandNode> tree = CommandTree(app_);
  ASSERT_EQ(tree.size(), 4u);
  EXPECT_THAT(tree[0].children, ElementsAre("one", "two"));
  EXPECT_TRUE(tree[1].TakesPod());
  ASSERT_EQ(tree[1].options.size(), 3u);  // --help is the parser's
  EXPECT_THAT(tree[1].options[1].names, ElementsAre("--json"));
  EXPECT_EQ(tree[1].options[1].value, "");
  EXPECT_THAT(tree[1].options[2].names, ElementsAre("--rounds", "-n"));
  EXPECT_NE(tree[1].options[2].value, "");
  EXPECT_THAT(tree[3].path, ElementsAre("two", "below"));
}

TEST_F(TreeTest, IsTheManualAndTheCompletions) {
  const std::vector<CommandNode> tree = CommandTree(app_);
  const std::string manual = ManualPage(tree, "1.2");
  EXPECT_THAT(manual, HasSubstr("\n.SS \"one \\fIPOD\\fR\"\nthe first\n"));
  EXPECT_THAT(manual, HasSubstr("\\fB\\-\\-rounds, \\-n\\fR"));
  EXPECT_THAT(CompletionScript(tree, "bash"), HasSubstr("'two below') words="));
  EXPECT_THAT(CompletionScript(tree, "zsh"), HasSubstr("'one') candidates=("));
  EXPECT_THAT(CompletionScript(tree, "fish"), HasSubstr("-a two -d 'it'\\''s more'"));
}

}  // namespace
}  // namespace kata::ctl
