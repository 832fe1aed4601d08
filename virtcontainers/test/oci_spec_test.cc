// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/oci_spec.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "virtcontainers/ids.h"
#include "virtcontainers/mounts.h"

#include <sys/mount.h>

namespace kata::virtcontainers {
namespace {

using Json = nlohmann::json;

TEST(OciSpec, EditsWhatTheGuestSeesAndKeepsTheRest) {
  const std::string text = R"({
    "process": {"terminal": false, "args": ["sh"], "newField": 7},
    "root": {"path": "rootfs", "readonly": true},
    "hooks": {"prestart": []},
    "mounts": [
      {"destination": "/proc", "type": "proc", "source": "proc"},
      {"destination": "/a", "type": "bind", "source": "/data/a", "options": ["rbind", "ro"]},
      {"destination": "/dev/x", "type": "bind", "source": "/dev/x", "options": ["bind"]},
      {"destination": "/dev2", "type": "bind", "source": "/device", "options": ["bind"]}],
    "linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/run/netns/x"}]}})";
  auto spec = MakeGuestSpec(text, "/guest/c1", true);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->rootfs_path, "rootfs");
  Json json = Json::parse(spec->json);
  EXPECT_EQ(json["root"]["path"], "/guest/c1/rootfs");
  EXPECT_EQ(json["root"]["readonly"], true);
  EXPECT_EQ(json["process"]["terminal"], true);
  EXPECT_EQ(json["process"]["newField"], 7);
  EXPECT_FALSE(json.contains("hooks"));
  EXPECT_EQ(json["mounts"][0]["source"], "proc");
  EXPECT_EQ(json["mounts"][1]["source"], "/guest/c1/mounts/0");
  EXPECT_EQ(json["mounts"][2]["source"], "/dev/x");
  EXPECT_EQ(json["mounts"][3]["source"], "/guest/c1/mounts/1");
  EXPECT_EQ(json["linux"]["namespaces"][1], Json({{"type", "network"}}));
  ASSERT_EQ(spec->shared_mounts.size(), 2u);
  EXPECT_EQ(spec->shared_mounts[0].source, "/data/a");
  EXPECT_TRUE(spec->shared_mounts[0].is_read_only);
  EXPECT_EQ(spec->shared_mounts[1].source, "/device");
  EXPECT_FALSE(spec->shared_mounts[1].is_read_only);
}

TEST(OciSpec, RefusesWhatIsNoSpec) {
  for (const char* text :
       {"", "[]", "{", "{}", R"({"process": {}, "root": 3})",
        R"({"process": {}, "root": {}, "mounts": 1})",
        R"({"process": {}, "root": {}, "mounts": [{"type": "bind", "source": "a"}]})"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(MakeGuestSpec(text, "/g", false).status())) << text;
  }
}

TEST(OciSpec, ExecTakesTheCallersTerminal) {
  auto process = MakeGuestProcess(R"({"terminal": true, "args": ["a"]})", false);
  ASSERT_TRUE(process.ok());
  EXPECT_EQ(Json::parse(*process), Json({{"terminal", false}, {"args", {"a"}}}));
  EXPECT_FALSE(MakeGuestProcess("3", false).ok());
}

TEST(Ids, Valid) {
  EXPECT_TRUE(IsValidId("a"));
  EXPECT_TRUE(IsValidId("0-A_b.c"));
  EXPECT_TRUE(IsValidId(std::string(76, 'x')));
  for (const std::string& id :
       {std::string(), std::string("."), std::string(".."), std::string("-a"), std::string("a/b"),
        std::string("a b"), std::string(77, 'x')}) {
    EXPECT_FALSE(IsValidId(id)) << id;
  }
  EXPECT_FALSE(IsValidSandboxId("shared"));
  EXPECT_TRUE(IsValidSandboxId(std::string(76, 'x') + "-01234567"));
  EXPECT_FALSE(IsValidSandboxId(std::string(97, 'x')));
}

TEST(MountOptions, FlagsAndData) {
  MountOptions options =
      ParseMountOptions({"ro", "nosuid", "lowerdir=/a:/b", "rprivate", "upperdir=/c", "suid"});
  EXPECT_EQ(options.flags, static_cast<unsigned long>(MS_RDONLY));
  EXPECT_EQ(options.propagation, static_cast<unsigned long>(MS_PRIVATE | MS_REC));
  EXPECT_EQ(options.data, "lowerdir=/a:/b,upperdir=/c");
}

}  // namespace
}  // namespace kata::virtcontainers
