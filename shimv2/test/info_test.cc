// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bootstrap/info.h"

#include <algorithm>
#include <cctype>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "proto/base/version.h"
#include "proto/schema/runtime_options.pb.h"

namespace kata::shimv2 {
namespace {

TEST(Info, NamesTheRuntimeAndItsFeatures) {
  auto bytes = RuntimeInfoBytes("");

  ASSERT_TRUE(bytes.ok()) << bytes.status();
  runtimeoptions::v1::RuntimeInfo info;
  ASSERT_TRUE(info.ParseFromString(*bytes));
  EXPECT_EQ(info.name(), "io.containerd.kata.v2");
  EXPECT_EQ(info.version().version(), kBuildVersion);
  EXPECT_EQ(info.version().revision(), kBuildCommit);
  EXPECT_FALSE(info.has_options());
  EXPECT_EQ(info.features().type_url(), "types.containerd.io/opencontainers/runtime-spec/1/features/Features");
  const auto features = nlohmann::json::parse(info.features().value());
  EXPECT_TRUE(features["linux"]["namespaces"].is_array());
  EXPECT_TRUE(features["linux"]["mountExtensions"]["idmap"]["enabled"].get<bool>());
  const auto& mount_options = features["mountOptions"];
  EXPECT_NE(std::find(mount_options.begin(), mount_options.end(), "rro"), mount_options.end());
}

TEST(Info, GivesItsOwnOptionsBack) {
  wire::Any any;
  any.set_type_url("runtimeoptions.v1.Options");
  runtimeoptions::v1::Options options;
  options.set_config_path("/a.toml");
  any.set_value(options.SerializeAsString());
  runtimeoptions::v1::RuntimeInfo info;

  ASSERT_TRUE(info.ParseFromString(*RuntimeInfoBytes(any.SerializeAsString())));
  EXPECT_EQ(info.options().value(), any.value());
  any.set_type_url("containerd.runc.v1.Options");
  ASSERT_TRUE(info.ParseFromString(*RuntimeInfoBytes(any.SerializeAsString())));
  EXPECT_FALSE(info.has_options());
}

TEST(Info, RefusesGarbage) {
  EXPECT_EQ(RuntimeInfoBytes("\xff\xff").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Info, HelpSaysWhoRunsItAndWhatToTypeInstead) {
  const std::string text = HelpText();
  EXPECT_EQ(text.rfind(VersionText(), 0), 0u);
  for (const char* words :
       {"containerd, CRI-O and Docker start it", "ctr run --rm --runtime io.containerd.kata.v2", "delete"})
    EXPECT_NE(text.find(words), std::string::npos) << words;
}

TEST(Info, VersionIsOneLine) {
  const std::string version(kBuildVersion);
  const std::string commit(kBuildCommit);
  EXPECT_TRUE(std::isdigit(version.at(0)));
  EXPECT_GE(commit.size(), 7u);
  EXPECT_EQ(VersionText(), "containerd-shim-kata-v2 " + version + ", commit " + commit + "\n");
}

}  // namespace
}  // namespace kata::shimv2
