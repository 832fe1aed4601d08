// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/oci/fields.h"

#include <fstream>
#include <set>
#include <sstream>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kata::virtcontainers {
namespace {

using Json = nlohmann::json;

// A document in which `leaf` stands at `path` of the table.
Json Nest(const std::string& path, Json leaf) {
  std::vector<std::string> names = absl::StrSplit(path, '.');
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    std::string key = *name;
    if (absl::EndsWith(key, "[]")) {
      leaf = Json::array({std::move(leaf)});
      key.resize(key.size() - 2);
    }
    leaf = Json{{key, std::move(leaf)}};
  }
  return leaf;
}

absl::Status Check(const Json& json, FieldsOf use = FieldsOf::kCreate, const std::string& path = "") {
  FieldReport report;
  return CheckFields(json, path, use, report);
}

absl::Status CheckText(const char* text, FieldsOf use = FieldsOf::kCreate, const std::string& path = "") {
  return Check(Json::parse(text), use, path);
}

TEST(OciFields, TheDocumentStatesTheTable) {
  std::ifstream in(KATA_OCI_FIELDS_MD);
  std::stringstream text;
  text << in.rdbuf();
  ASSERT_FALSE(text.str().empty()) << KATA_OCI_FIELDS_MD;

  EXPECT_TRUE(absl::StrContains(text.str(), FieldTable())) << "the table of docs/oci-fields.md must read:\n"
                                                           << FieldTable();
}

TEST(OciFields, EveryRuleDoesWhatItsVerdictSays) {
  std::set<std::string> seen;
  for (const FieldRule& rule : FieldRules()) {
    EXPECT_TRUE(seen.insert(rule.path).second) << "twice: " << rule.path;
    EXPECT_TRUE(rule.verdict == FieldVerdict::kDone || *rule.note != '\0') << rule.path << " has no reason";
    const Json json = Nest(rule.path, Json{{"some", "value"}});
    FieldReport report;
    const absl::Status status = CheckFields(json, "", FieldsOf::kCreate, report);
    EXPECT_TRUE(report.unknown.empty()) << rule.path << ": " << report.Text();
    if (rule.verdict != FieldVerdict::kRefused) {
      EXPECT_TRUE(status.ok()) << status;
      continue;
    }
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << rule.path;
    EXPECT_TRUE(absl::StrContains(status.message(), rule.note)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), R"({"some":"value"})")) << status;
    EXPECT_EQ(status.message().find('\n'), std::string::npos);
  }
}

// One document with each field that has an effect or none, so that nothing of it may be an error or unknown.
TEST(OciFields, TakesADocumentWithEveryFieldThatIsNotRefused) {
  Json all = Json::object();
  for (const FieldRule& rule : FieldRules()) {
    if (rule.verdict == FieldVerdict::kRefused) continue;
    // Lists have one entry that gets all members of theirs.
    Json* at = &all;
    for (absl::string_view name : absl::StrSplit(rule.path, '.')) {
      std::string key(name);
      const bool is_list = absl::EndsWith(key, "[]");
      if (is_list) key.resize(key.size() - 2);
      at = &(*at)[key];
      if (is_list) at = &(*at)[size_t{0}];
    }
    if (at->is_null()) *at = 1;
  }
  FieldReport report;
  const absl::Status status = CheckFields(all, "", FieldsOf::kCreate, report);

  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(report.unknown.empty()) << report.Text();
}

TEST(OciFields, NamesUnknownFieldsAndTakesThem) {
  FieldReport report;
  const Json json = Json::parse(
      R"({"future":1,"process":{"args":["a"],"later":{"x":1}},"mounts":[{"destination":"/a"},{"newer":true}],)"
      R"("linux":{"resources":{"cpu":{"\u001b[1m":1}}}})");
  ASSERT_TRUE(CheckFields(json, "", FieldsOf::kCreate, report).ok());

  EXPECT_EQ(std::set<std::string>(report.unknown.begin(), report.unknown.end()),
            (std::set<std::string>{"future", "process.later", "mounts[1].newer", "linux.resources.cpu.\\x1b[1m"}));
}

TEST(OciFields, ShowsABoundedNumberOfUnknownFields) {
  FieldReport report;
  for (int i = 0; i < 1000; ++i) report.unknown.push_back("f" + std::to_string(i));

  EXPECT_TRUE(absl::EndsWith(report.Text(), "f15 and 984 more")) << report.Text();
}

TEST(OciFields, NamesARefusedLimitInACreateAndInAnUpdate) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"cpu":{"realtimeRuntime":950000}})", "linux.resources.cpu.realtimeRuntime: 950000: "},
      {R"({"cpu":{"realtimePeriod":1000000}})", "linux.resources.cpu.realtimePeriod: 1000000: "},
      {R"({"memory":{"kernel":1048576}})", "linux.resources.memory.kernel: 1048576: "},
      {R"({"memory":{"kernelTCP":1048576}})", "linux.resources.memory.kernelTCP: 1048576: "},
      {R"({"memory":{"disableOOMKiller":true}})", "linux.resources.memory.disableOOMKiller: true: "},
      {R"({"network":{"classID":1048577}})", "linux.resources.network.classID: 1048577: "},
      {R"({"network":{"priorities":[{"name":"eth0","priority":5}]}})", "linux.resources.network.priorities: [{"},
      {R"({"rdma":{"mlx5_1":{"hcaHandles":3}}})", "linux.resources.rdma.mlx5_1: {"}};
  for (const auto& [text, start] : cases) {
    for (FieldsOf use : {FieldsOf::kCreate, FieldsOf::kUpdate}) {
      const absl::Status status = CheckText(text, use, "linux.resources");
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << text << ": " << status;
      EXPECT_TRUE(absl::StartsWith(status.message(), start)) << status;
    }
  }
}

TEST(OciFields, RefusesHintsInAnUpdateOnly) {
  for (const char* text : {R"({"memory":{"swappiness":0}})", R"({"blockIO":{"leafWeight":100}})"}) {
    EXPECT_TRUE(CheckText(text, FieldsOf::kCreate, "linux.resources").ok()) << text;
    EXPECT_TRUE(absl::IsInvalidArgument(CheckText(text, FieldsOf::kUpdate, "linux.resources"))) << text;
  }
}

TEST(OciFields, TakesWhatEnginesSendForNothing) {
  for (const char* text :
       {"{}", R"({"hooks":{},"linux":null,"vm":{},"process":{"apparmorProfile":""}})",
        R"({"hooks":{"prestart":[],"poststop":null},"linux":{"intelRdt":{},"seccomp":{"listenerPath":""},)"
        R"("netDevices":{},"personality":{"domain":"LINUX","flags":[]},"memoryPolicy":{"mode":"MPOL_DEFAULT"}}})",
        R"({"linux":{"resources":{"cpu":{"realtimeRuntime":0,"realtimePeriod":0},"memory":{"kernel":-1,"kernelTCP":0,)"
        R"("disableOOMKiller":false,"swappiness":null},"network":{"classID":0,"priorities":[]},"rdma":null}}})"}) {
    EXPECT_TRUE(CheckText(text, FieldsOf::kUpdate).ok()) << text << CheckText(text, FieldsOf::kUpdate);
  }
}

}  // namespace
}  // namespace kata::virtcontainers
