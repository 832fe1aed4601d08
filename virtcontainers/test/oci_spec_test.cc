// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/oci/spec.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "proto/base/status.h"
#include "virtcontainers/paths.h"

namespace kata::virtcontainers {
namespace {

absl::StatusOr<GuestSpec> MakeGuestSpec(const std::string& text, const std::string& guest_dir, bool terminal,
                                        const GuestSource& guest_source) {
  ASSIGN_OR_RETURN(auto document, OciDocument::Parse(text));
  return virtcontainers::MakeGuestSpec(*document, guest_dir, terminal, guest_source);
}

using Json = nlohmann::json;

absl::StatusOr<std::optional<GuestPlace>> NothingInGuest(const BindMount&) { return std::nullopt; }
// Devices, one volume, and a socket.
absl::StatusOr<std::optional<GuestPlace>> SomeInGuest(const BindMount& bind) {
  if (bind.source == "/dev/x") return GuestPlace{bind.source};
  if (bind.destination == "/cache") return GuestPlace{"/guest/volume"};
  if (bind.destination == "/socket") return GuestPlace{"/guest/socket", /*is_mapped=*/true};
  if (bind.destination == "/bad") return absl::NotFoundError("bad");
  return std::nullopt;
}

TEST(OciSpec, ASandboxContainerHasNoRootNoMountsAndNoHooksInTheGuest) {
  auto document = OciDocument::Parse(R"({
    "process": {"args": ["/pause"], "user": {"uid": 65535}}, "hostname": "pod", "newField": 1,
    "root": {"path": "rootfs", "readonly": true},
    "hooks": {"prestart": [{"path": "/h"}], "startContainer": []},
    "mounts": [{"destination": "/a", "type": "bind", "source": "/data", "options": ["rbind", "no-such-word"]}],
    "linux": {"sysctl": {"kernel.msgmax": "1"},
              "namespaces": [{"type": "pid"}, {"type": "ipc", "path": "/proc/7/ns/ipc"},
                             {"type": "network", "path": "/run/netns/x"}]}})");
  ASSERT_TRUE(document.ok()) << document.status();

  auto spec = MakeSandboxSpec(**document, false);

  ASSERT_TRUE(spec.ok()) << spec.status();
  const Json json = Json::parse(spec->json);
  EXPECT_FALSE(json.contains("mounts"));
  EXPECT_EQ(json["root"]["path"], "/");
  EXPECT_EQ(json["process"]["user"]["uid"], 65535);
  EXPECT_EQ(json["linux"]["sysctl"]["kernel.msgmax"], "1");
  EXPECT_EQ(json["linux"]["namespaces"][2], Json({{"type", "network"}}));
  EXPECT_TRUE(spec->shared_mounts.empty());
  EXPECT_EQ(spec->unknown_fields, "newField");
  ASSERT_EQ(spec->process_namespaces.size(), 1u);
  EXPECT_EQ(spec->process_namespaces[0].pid, 7);
}

TEST(OciSpec, ASandboxContainerCannotRunAHookOfItsOwn) {
  auto document =
      OciDocument::Parse(R"({"process": {"args": ["x"]}, "root": {}, "hooks": {"startContainer": [{"path": "/h"}]}})");
  ASSERT_TRUE(document.ok()) << document.status();

  const absl::Status status = MakeSandboxSpec(**document, false).status();

  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_EQ(status.message(), "hooks.startContainer: a sandbox container has no programs for it");
}

TEST(OciSpec, EditsWhatTheGuestSeesAndKeepsTheRest) {
  const std::string text = R"({
    "process": {"terminal": false, "args": ["sh"], "newField": 7},
    "root": {"path": "rootfs", "readonly": true},
    "hooks": {"prestart": [], "startContainer": [{"path": "/h"}]},
    "mounts": [
      {"destination": "/proc", "type": "proc", "source": "proc"},
      {"destination": "/a", "type": "bind", "source": "/data/a", "options": ["rbind", "ro"]},
      {"destination": "/dev/x", "type": "bind", "source": "/dev/x", "options": ["bind"]},
      {"destination": "/cache", "type": "bind", "source": "/memory", "options": ["rbind"]},
      {"destination": "/dev2", "type": "bind", "source": "/device", "options": ["bind"]}],
    "linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/run/netns/x"}]}})";
  auto spec = MakeGuestSpec(text, "/guest/c1", true, SomeInGuest);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->rootfs_path, "rootfs");
  Json json = Json::parse(spec->json);
  EXPECT_EQ(json["root"]["path"], "/guest/c1/rootfs");
  EXPECT_EQ(json["root"]["readonly"], true);
  EXPECT_EQ(json["process"]["terminal"], true);
  EXPECT_EQ(json["process"]["newField"], 7);
  EXPECT_EQ(spec->unknown_fields, "process.newField");
  EXPECT_EQ(json["hooks"], Json::parse(R"({"startContainer": [{"path": "/h"}]})"));  // the others are the host's
  EXPECT_EQ(json["mounts"][0]["source"], "proc");
  EXPECT_EQ(json["mounts"][1]["source"], "/guest/c1/mounts/0");
  EXPECT_EQ(json["mounts"][2]["source"], "/dev/x");
  EXPECT_EQ(json["mounts"][3]["source"], "/guest/volume");
  EXPECT_EQ(json["mounts"][4]["source"], "/guest/c1/mounts/1");
  EXPECT_EQ(json["linux"]["namespaces"][1], Json({{"type", "network"}}));
  ASSERT_EQ(spec->shared_mounts.size(), 2u);
  EXPECT_EQ(spec->shared_mounts[0].source, "/data/a");
  EXPECT_EQ(spec->shared_mounts[0].options.read_only, ReadOnly::kTop);
  EXPECT_TRUE(spec->shared_mounts[0].options.is_recursive);
  EXPECT_EQ(spec->shared_mounts[1].source, "/device");
  EXPECT_EQ(spec->shared_mounts[1].options.read_only, ReadOnly::kNo);
  EXPECT_FALSE(spec->shared_mounts[1].options.is_recursive);
  // The agent has to make device nodes in it: nothing is mounted at /dev.
  EXPECT_EQ(spec->rootfs_options.read_only, ReadOnly::kNo);
}

TEST(OciSpec, RefusesWhatIsNoSpec) {
  for (const char* text :
       {"", "[]", "{", "{}", R"({"process": {}, "root": 3})", R"({"process": {}, "root": {}, "mounts": 1})",
        R"({"process": {}, "root": {}, "mounts": [{"type": "bind", "source": ""}]})"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(MakeGuestSpec(text, "/g", false, NothingInGuest).status())) << text;
  }
}

TEST(OciSpec, SaysWhyAVolumeCannotBeHad) {
  const std::string text = R"({"process": {}, "root": {},
    "mounts": [{"destination": "/bad", "type": "bind", "source": "/x"}]})";
  EXPECT_TRUE(absl::IsNotFound(MakeGuestSpec(text, "/g", false, SomeInGuest).status()));
}

TEST(OciSpec, ExecTakesTheCallersTerminal) {
  auto process = MakeGuestProcess(R"({"terminal": true, "args": ["a"]})", false);
  ASSERT_TRUE(process.ok());
  EXPECT_EQ(Json::parse(process->json), Json({{"terminal", false}, {"args", {"a"}}}));
  EXPECT_FALSE(MakeGuestProcess("3", false).ok());
}

TEST(OciSpec, TakesIdmappedBindMountsToTheHost) {
  auto spec = MakeGuestSpec(R"({"process": {}, "root": {},
    "linux": {"uidMappings": [{"containerID": 0, "hostID": 5, "size": 9}],
              "gidMappings": [{"containerID": 0, "hostID": 6, "size": 9}]},
    "mounts": [
      {"destination": "/a", "type": "bind", "source": "/data/a", "options": ["bind"],
       "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
       "gidMappings": [{"containerID": 0, "hostID": 200000, "size": 65536}]},
      {"destination": "/b", "type": "bind", "source": "/data/b", "options": ["rbind", "ridmap", "ro"]},
      {"destination": "/c", "type": "bind", "source": "/data/c", "options": ["rbind"]}]})",
                            "/guest/c1", false, NothingInGuest);
  ASSERT_TRUE(spec.ok()) << spec.status();
  ASSERT_EQ(spec->shared_mounts.size(), 3u);
  EXPECT_EQ(spec->shared_mounts[0].id_map.uids[0].host, 100000u);
  EXPECT_EQ(spec->shared_mounts[0].id_map.gids[0].host, 200000u);
  EXPECT_FALSE(spec->shared_mounts[0].id_map.is_recursive);
  EXPECT_EQ(spec->shared_mounts[1].id_map.gids[0].host, 6u);
  EXPECT_TRUE(spec->shared_mounts[1].id_map.is_recursive);
  EXPECT_TRUE(spec->shared_mounts[2].id_map.empty());
  const Json json = Json::parse(spec->json);
  EXPECT_FALSE(json["mounts"][0].contains("uidMappings"));
  EXPECT_EQ(json["mounts"][1]["options"], Json({"rbind", "ro"}));
}

TEST(OciSpec, RefusesIdmapsThatItCannotMake) {
  for (const char* mount : {R"({"destination": "/a", "type": "bind", "source": "/a", "options": ["idmap"]})",
                            R"({"destination": "/a", "type": "bind", "source": "/a",
                                "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]})",
                            R"({"destination": "/a", "type": "tmpfs", "source": "tmpfs",
                                "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}],
                                "gidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]})"}) {
    const absl::Status status = MakeGuestSpec(std::string(R"({"process": {}, "root": {}, "mounts": [)") + mount + "]}",
                                              "/g", false, NothingInGuest)
                                    .status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << mount << ": " << status;
    EXPECT_NE(status.message().find("\"/a\""), std::string::npos) << status;
  }
}

TEST(OciSpec, OfWhatTheGuestHasOnlyWhatIsMappedAlreadyCanBeIdmapped) {
  const auto idmapped = [](const std::string& destination) {
    return R"({"process": {}, "root": {}, "mounts": [{"type": "bind", "source": "/s", "options": ["bind", "idmap"],
      "uidMappings": [{"containerID": 0, "hostID": 7, "size": 1}],
      "gidMappings": [{"containerID": 0, "hostID": 7, "size": 1}], "destination": ")" +
           destination + "\"}]}";
  };
  EXPECT_TRUE(absl::IsInvalidArgument(MakeGuestSpec(idmapped("/cache"), "/g", false, SomeInGuest).status()));
  auto spec = MakeGuestSpec(idmapped("/socket"), "/g", false, SomeInGuest);
  ASSERT_TRUE(spec.ok()) << spec.status();
  const Json mount = Json::parse(spec->json)["mounts"][0];
  EXPECT_EQ(mount, Json({{"type", "bind"},
                         {"source", "/guest/socket"},
                         {"destination", "/socket"},
                         {"options", Json::array({"bind"})}}));
  EXPECT_TRUE(spec->shared_mounts.empty());
}

TEST(OciSpec, NotesNamespacesOfProcesses) {
  auto spec = MakeGuestSpec(R"({"process": {}, "root": {}, "linux": {"namespaces": [{"type": "pid",
    "path": "/proc/77/ns/pid"}, {"type": "ipc", "path": "/run/ipcns/a"}, {"type": "network",
    "path": "/proc/78/ns/net"}]}})",
                            "/g", false, NothingInGuest);
  ASSERT_TRUE(spec.ok()) << spec.status();
  ASSERT_EQ(spec->process_namespaces.size(), 1u);
  EXPECT_EQ(spec->process_namespaces[0].type, "pid");
  EXPECT_EQ(spec->process_namespaces[0].pid, 77);
}

TEST(OciSpec, RefusesFieldsThatItCannotHonour) {
  const absl::Status created =
      MakeGuestSpec(R"({"process": {}, "root": {}, "linux": {"intelRdt": {"closID": "gold"}}})", "/g", false,
                    NothingInGuest)
          .status();
  EXPECT_TRUE(absl::IsInvalidArgument(created));
  EXPECT_NE(created.message().find(R"(linux.intelRdt: {"closID":"gold"}: )"), std::string::npos) << created;
  const absl::Status updated = CheckResources(R"({"memory": {"swappiness": 60}})");
  EXPECT_TRUE(absl::IsInvalidArgument(updated));
  EXPECT_NE(updated.message().find("linux.resources.memory.swappiness: 60"), std::string::npos) << updated;
  EXPECT_FALSE(CheckResources("[]").ok());
  EXPECT_TRUE(CheckResources(R"({"pids": {"limit": 3}})").ok());
}

TEST(Ids, Valid) {
  EXPECT_TRUE(IsValidId("a"));
  EXPECT_TRUE(IsValidId("0-A_b.c"));
  EXPECT_TRUE(IsValidId(std::string(76, 'x')));
  for (const std::string& id : {std::string(), std::string("."), std::string(".."), std::string("-a"),
                                std::string("a/b"), std::string("a b"), std::string(77, 'x')}) {
    EXPECT_FALSE(IsValidId(id)) << id;
  }
  EXPECT_FALSE(IsValidSandboxId("shared"));
  EXPECT_TRUE(IsValidSandboxId(std::string(76, 'x') + "-01234567"));
  EXPECT_FALSE(IsValidSandboxId(std::string(97, 'x')));
}

ExportOptions Exported(const std::string& words) {
  auto spec = MakeGuestSpec(R"({"process": {}, "root": {}, "mounts": [
    {"type": "bind", "source": "/s", "destination": "/d", "options": [)" +
                                words + "]}]}",
                            "/g", false, NothingInGuest);
  return spec.ok() && spec->shared_mounts.size() == 1 ? spec->shared_mounts[0].options : ExportOptions();
}

// Kata's CVE-2020-28914 and its kin: what the container may not write, the guest may not either.
TEST(OciSpec, ExportsReadOnlyWhatTheContainerHasReadOnly) {
  EXPECT_EQ(Exported(R"("rbind", "rro")").read_only, ReadOnly::kAll);
  EXPECT_EQ(Exported(R"("rbind", "ro", "rro")").read_only, ReadOnly::kAll);
  EXPECT_EQ(Exported(R"("bind", "rro", "rprivate")").read_only, ReadOnly::kAll);
  EXPECT_EQ(Exported(R"("rbind", "ro")").read_only, ReadOnly::kTop);
  EXPECT_EQ(Exported(R"("ro")").read_only, ReadOnly::kTop);
  EXPECT_EQ(Exported(R"("rbind", "ro", "rw")").read_only, ReadOnly::kNo);
  EXPECT_EQ(Exported(R"("rbind", "ro", "rrw")").read_only, ReadOnly::kNo);
  EXPECT_TRUE(Exported(R"("rbind", "rprivate")").is_private);
  EXPECT_FALSE(Exported(R"("rbind", "rslave")").is_private);
  EXPECT_FALSE(Exported(R"("rbind")").is_private);
  EXPECT_FALSE(Exported(R"("bind")").is_recursive);
}

TEST(OciSpec, UnknownWordOfABindIsNamed) {
  auto spec = MakeGuestSpec(R"({"process": {}, "root": {}, "mounts": [
    {"type": "bind", "source": "/s", "destination": "/d", "options": ["rbind", "r0"]}]})",
                            "/g", false, NothingInGuest);
  EXPECT_EQ(spec.status().message(), "bind mount at \"/d\": mount option \"r0\" is not known");
}

TEST(OciSpec, ReadOnlyRootIsExportedSoAndHasItsMountPoints) {
  auto spec = MakeGuestSpec(R"({"process": {"cwd": "/app/here"}, "root": {"path": "r", "readonly": true}, "mounts": [
    {"type": "tmpfs", "source": "tmpfs", "destination": "/dev"},
    {"type": "devpts", "source": "devpts", "destination": "/dev/pts/"},
    {"type": "bind", "source": "/data/file", "destination": "//etc/hosts", "options": ["rbind"]}]})",
                            "/g", false, NothingInGuest);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->rootfs_options.read_only, ReadOnly::kAll);
  ASSERT_EQ(spec->mount_points.size(), 3u);
  EXPECT_EQ(spec->mount_points[0].path, "/dev");
  EXPECT_EQ(spec->mount_points[0].source, "");
  EXPECT_EQ(spec->mount_points[1].path, "/etc/hosts");
  EXPECT_EQ(spec->mount_points[1].source, "/data/file");
  EXPECT_EQ(spec->mount_points[2].path, "/app/here");
}

TEST(OciSpec, SourcesAreChangedByWhatTheyAre) {
  const Json mounts = Json::parse(WithSources(
      R"({"mounts": [{"source": "/g/mounts/0"}, {"source": "/g/mounts/01"}, {"type": "proc"}, {"source": "/g/mounts/0"}]})",
      {{"/g/mounts/0", "/v/7"}}))["mounts"];
  EXPECT_EQ(mounts,
            Json::parse(R"([{"source": "/v/7"}, {"source": "/g/mounts/01"}, {"type": "proc"}, {"source": "/v/7"}])"));
}

TEST(OciSpec, WritableMountsBelowAReadOnlyOneGetBindsOfTheirOwn) {
  auto spec = MakeGuestSpec(R"({"process": {}, "root": {}, "mounts": [
    {"type": "bind", "source": "/s", "destination": "/d", "options": ["rbind", "ro", "nosuid", "rprivate", "rnoexec"]},
    {"type": "tmpfs", "source": "tmpfs", "destination": "/t"}]})",
                            "/g", false, NothingInGuest);
  ASSERT_TRUE(spec.ok()) << spec.status();
  const Json mounts = Json::parse(WithWritableMounts(spec->json, "/g/mounts/0", {"sub", "a/b"}))["mounts"];
  ASSERT_EQ(mounts.size(), 4u);
  EXPECT_EQ(mounts[0]["options"].size(), 5u);
  EXPECT_EQ(mounts[1], Json({{"type", "bind"},
                             {"source", "/g/mounts/0/sub"},
                             {"destination", "/d/sub"},
                             {"options", {"rbind", "rprivate", "rnoexec"}}}));
  EXPECT_EQ(mounts[2]["destination"], "/d/a/b");
  EXPECT_EQ(mounts[3]["destination"], "/t");
}

}  // namespace
}  // namespace kata::virtcontainers
