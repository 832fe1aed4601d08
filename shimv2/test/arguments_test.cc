// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bootstrap/arguments.h"

#include <gtest/gtest.h>

namespace kata::shimv2 {
namespace {

TEST(Arguments, ReadsContainerdsOrder) {
  auto arguments = ParseArguments({"-namespace", "default", "-address", "/run/c.sock", "-publish-binary",
                                   "/usr/bin/containerd", "-id", "box", "-debug", "start"});

  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_EQ(arguments->name_space, "default");
  EXPECT_EQ(arguments->address, "/run/c.sock");
  EXPECT_EQ(arguments->id, "box");
  EXPECT_TRUE(arguments->debug);
  EXPECT_EQ(arguments->action, "start");
}

TEST(Arguments, ReadsDoubleDashesAndEqualSigns) {
  auto arguments = ParseArguments({"--namespace=k8s.io", "--id=box", "--bundle=/b", "delete"});

  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_EQ(arguments->name_space, "k8s.io");
  EXPECT_EQ(arguments->bundle, "/b");
  EXPECT_EQ(arguments->action, "delete");
}

TEST(Arguments, TakesAnEmptyAddressAsCriODoes) {
  auto arguments = ParseArguments({"-namespace", "default", "-address", "", "-id", "box", "start"});

  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_EQ(arguments->address, "");
}

TEST(Arguments, RefusesAnEmptyNamespace) {
  auto arguments = ParseArguments({"-namespace", "", "-id", "box", "start"});

  EXPECT_EQ(arguments.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Arguments, RefusesAnIdThatIsAPath) {
  EXPECT_FALSE(ParseArguments({"-namespace", "n", "-id", "../x", "start"}).ok());
  EXPECT_FALSE(ParseArguments({"-namespace", "n", "-id", "..", "start"}).ok());
}

TEST(Arguments, NamesAnUnknownFlag) {
  auto arguments = ParseArguments({"-colour", "red"});

  EXPECT_NE(arguments.status().message().find("\"-colour\""), std::string::npos);
}

TEST(Arguments, NeedsNothingForVersionAndInfo) {
  EXPECT_TRUE(ParseArguments({"-v"}).ok());
  EXPECT_TRUE(ParseArguments({"-info"}).ok());
}

TEST(Arguments, HelpsWhoAsksAsPeopleDo) {
  for (const char* word : {"-h", "--help", "-help"}) {
    auto arguments = ParseArguments({word});
    ASSERT_TRUE(arguments.ok()) << word << ": " << arguments.status();
    EXPECT_TRUE(arguments->help) << word;
  }
  for (const std::vector<std::string>& words : {std::vector<std::string>{}, {"--hepl"}}) {
    const absl::Status status = ParseArguments(words).status();
    EXPECT_NE(status.message().find("-help says who runs this program"), std::string::npos) << status;
  }
}

}  // namespace
}  // namespace kata::shimv2
