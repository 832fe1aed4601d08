// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/oci/spec.h"

#include <sys/mount.h>

#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>
#include <nlohmann/json.hpp>

#include "proto/base/mount_options.h"
#include "proto/base/status.h"
#include "virtcontainers/json/members.h"
#include "virtcontainers/oci/fields.h"

namespace kata::virtcontainers {
namespace {

using Json = nlohmann::json;

bool IsBind(const Json& mount, const MountOptions& options) {
  return options.is_bind || TextOf(mount, "type") == "bind";
}

ExportOptions ExportOptionsOf(const MountOptions& options) {
  ExportOptions out;
  out.is_recursive = options.is_recursive_bind;
  if (options.own.set & MOUNT_ATTR_RDONLY) out.read_only = ReadOnly::kTop;
  // These come last, and count for the mount itself as well.
  if (options.recursive.cleared & MOUNT_ATTR_RDONLY) out.read_only = ReadOnly::kNo;
  if (options.recursive.set & MOUNT_ATTR_RDONLY) out.read_only = ReadOnly::kAll;
  for (unsigned long propagation : options.propagation)
    out.is_private = (propagation & (MS_PRIVATE | MS_UNBINDABLE)) != 0;
  return out;
}

// Without doubled and trailing slashes.
std::string Plain(const std::string& path) {
  const std::vector<std::string> parts = absl::StrSplit(path, '/', absl::SkipEmpty());
  return absl::StrCat("/", absl::StrJoin(parts, "/"));
}

bool IsCovered(const std::string& path, const std::vector<std::string>& places) {
  for (const std::string& place : places) {
    if (path == place || absl::StartsWith(path, place + "/")) return true;
  }
  return path == "/";
}

void NoteProcessNamespace(const std::string& type, const std::string& path,
                          std::vector<GuestSpec::ProcessNamespace>& out) {
  const std::vector<std::string> parts = absl::StrSplit(path, '/');
  int64_t pid = 0;
  if (parts.size() < 3 || !parts[0].empty() || parts[1] != "proc") return;
  if (!absl::SimpleAtoi(parts[2], &pid)) pid = -1;  // /proc/self and the like: nobody's here
  out.push_back({.type = type, .path = path, .pid = pid});
}

uint32_t Number(const Json& object, const char* key) {
  const Json& value = MemberOf(object, key);
  return value.is_number_unsigned() ? value.get<uint32_t>() : 0;
}

std::vector<IdMapping> Mappings(const Json& list) {
  std::vector<IdMapping> out;
  if (!list.is_array()) return out;
  for (const Json& item : list) {
    out.push_back(
        {.container = Number(item, "containerID"), .host = Number(item, "hostID"), .size = Number(item, "size")});
  }
  return out;
}

// Done on the host, so that it goes from the guest's document. The words alone mean the container's own mapping.
absl::StatusOr<IdMap> TakeIdMap(Json& mount, const Json& linux) {
  std::vector<std::string> options = TextsOf(mount, "options");
  const MountOptions parsed = ParseMountOptions(options);
  const bool is_recursive = parsed.maps_ids_recursively;
  const bool has_word = parsed.maps_ids;
  IdMap map{.uids = Mappings(MemberOf(mount, "uidMappings")),
            .gids = Mappings(MemberOf(mount, "gidMappings")),
            .is_recursive = is_recursive};
  if (has_word && map.empty()) {
    map.uids = Mappings(MemberOf(linux, "uidMappings"));
    map.gids = Mappings(MemberOf(linux, "gidMappings"));
  }
  if ((has_word || !map.empty()) && (map.uids.empty() || map.gids.empty())) {
    return absl::InvalidArgumentError(absl::StrCat("mounts: \"", TextOf(mount, "destination"),
                                                   "\": an idmapped mount needs uidMappings and gidMappings"));
  }
  mount.erase("uidMappings");
  mount.erase("gidMappings");
  if (has_word) {
    std::erase_if(options, [](const std::string& word) { return word == "idmap" || word == "ridmap"; });
    mount["options"] = options;
  }
  return map;
}

absl::Status EditMounts(Json& spec, const std::string& guest_dir, const GuestSource& guest_source, GuestSpec& out) {
  auto mounts = spec.find("mounts");
  if (mounts == spec.end()) return absl::OkStatus();
  if (!mounts->is_array()) return absl::InvalidArgumentError("\"mounts\" is not a list");
  for (Json& mount : *mounts) {
    if (!mount.is_object()) return absl::InvalidArgumentError("an entry of \"mounts\" is not an object");
    const MountOptions options = ParseMountOptions(TextsOf(mount, "options"));
    const std::string source = TextOf(mount, "source");
    const bool is_bind = IsBind(mount, options);
    const std::string what = absl::StrCat("bind mount at \"", TextOf(mount, "destination"), "\"");
    if (is_bind && source.empty()) return absl::InvalidArgumentError(absl::StrCat(what, ": it has no source"));
    ASSIGN_OR_RETURN(IdMap id_map, TakeIdMap(mount, MemberOf(spec, "linux")));
    std::optional<GuestPlace> own;
    if (is_bind) {
      ASSIGN_OR_RETURN(own, guest_source(BindMount{source, TextOf(mount, "destination"), id_map,
                                                   ExportOptionsOf(options).read_only != ReadOnly::kNo}));
    }
    const bool is_shared = is_bind && !own.has_value();
    if (!id_map.empty() && !is_shared && !(own.has_value() && own->is_mapped)) {
      return absl::InvalidArgumentError(absl::StrCat("mounts: \"", TextOf(mount, "destination"),
                                                     "\": only bind mounts of the host's files can be idmapped"));
    }
    if (own.has_value()) mount["source"] = own->path;
    if (!is_shared) continue;
    RETURN_IF_ERROR(Annotate(RefuseUnknownWords(options), what));
    SharedMount entry;
    entry.source = source;
    entry.share_name = absl::StrCat("mounts/", out.shared_mounts.size());
    entry.options = ExportOptionsOf(options);
    entry.id_map = std::move(id_map);
    mount["source"] = absl::StrCat(guest_dir, "/", entry.share_name);
    out.shared_mounts.push_back(std::move(entry));
  }
  return absl::OkStatus();
}

// Before the sources are edited.
void FindRootOptions(const Json& spec, GuestSpec& out) {
  auto is_read_only = spec["root"].find("readonly");
  if (is_read_only == spec["root"].end() || !is_read_only->is_boolean() || !is_read_only->get<bool>()) return;
  std::vector<std::string> places;
  if (auto mounts = spec.find("mounts"); mounts != spec.end() && mounts->is_array()) {
    for (const Json& mount : *mounts) {
      const std::string place = Plain(TextOf(mount, "destination"));
      MountPoint point;
      point.path = place;
      if (IsBind(mount, ParseMountOptions(TextsOf(mount, "options")))) point.source = TextOf(mount, "source");
      if (!IsCovered(place, places)) out.mount_points.push_back(std::move(point));
      places.push_back(place);
    }
  }
  MountPoint directory;
  directory.path = Plain(TextOf(spec["process"], "cwd"));
  if (!IsCovered(directory.path, places)) out.mount_points.push_back(std::move(directory));
  // Device nodes that the agent has to make in the image itself need a root that it can write to.
  if (IsCovered("/dev", places)) out.rootfs_options.read_only = ReadOnly::kAll;
}

// What counts for mounts below a bind too.
std::vector<std::string> InheritedOptions(const Json& mount) {
  std::vector<std::string> out = {"rbind"};
  for (const std::string& word : TextsOf(mount, "options")) {
    const MountOptions options = ParseMountOptions({word});
    if (!options.recursive.empty() || !options.propagation.empty()) out.push_back(word);
  }
  return out;
}

// The others run on the host.
void KeepGuestHooks(Json& spec) {
  const Json hooks = spec.value("hooks", Json());
  spec.erase("hooks");
  if (hooks.is_object() && hooks.contains("startContainer")) spec["hooks"]["startContainer"] = hooks["startContainer"];
}

void EditNamespaces(Json& spec, GuestSpec& out) {
  auto linux = spec.find("linux");
  if (linux == spec.end() || !linux->is_object()) return;
  auto namespaces = linux->find("namespaces");
  if (namespaces == linux->end() || !namespaces->is_array()) return;
  for (Json& entry : *namespaces) {
    if (!entry.is_object()) continue;
    const std::string type = TextOf(entry, "type");
    if (type == "network") {
      entry.erase("path");
      continue;
    }
    NoteProcessNamespace(type, TextOf(entry, "path"), out.process_namespaces);
  }
}

void Finish(Json& spec, GuestSpec& out) {
  if (const Json& score = MemberOf(spec["process"], "oomScoreAdj"); score.is_number_integer())
    out.oom_score = score.get<int>();
  EditNamespaces(spec, out);
  out.json = spec.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

absl::StatusOr<GuestSpec> MakeGuestSpec(const OciDocument& document, const std::string& guest_dir, bool terminal,
                                        const GuestSource& guest_source) {
  Json spec = document.json();
  FieldReport report;
  if (absl::Status status = CheckFields(spec, "", FieldsOf::kCreate, report); !status.ok()) return status;
  GuestSpec out;
  out.unknown_fields = report.Text();
  out.rootfs_path = TextOf(spec["root"], "path");
  spec["root"]["path"] = absl::StrCat(guest_dir, "/rootfs");
  spec["process"]["terminal"] = terminal;
  KeepGuestHooks(spec);
  FindRootOptions(spec, out);
  if (absl::Status status = EditMounts(spec, guest_dir, guest_source, out); !status.ok()) return status;
  Finish(spec, out);
  return out;
}

absl::StatusOr<GuestSpec> MakeSandboxSpec(const OciDocument& document, bool terminal) {
  Json spec = document.json();
  FieldReport report;
  if (absl::Status status = CheckFields(spec, "", FieldsOf::kCreate, report); !status.ok()) return status;
  KeepGuestHooks(spec);
  if (spec.contains("hooks") && !spec["hooks"]["startContainer"].empty())
    return absl::InvalidArgumentError("hooks.startContainer: a sandbox container has no programs for it");
  GuestSpec out;
  out.unknown_fields = report.Text();
  spec["process"]["terminal"] = terminal;
  // The agent has a root of its own for it.
  spec["root"]["path"] = "/";
  spec.erase("mounts");
  Finish(spec, out);
  return out;
}

std::string WithWritableMounts(const std::string& spec_json, const std::string& source,
                               const std::vector<std::string>& below) {
  Json spec = Json::parse(spec_json, nullptr, /*allow_exceptions=*/false);
  Json mounts = Json::array();
  for (const Json& mount : spec["mounts"]) {
    mounts.push_back(mount);
    if (TextOf(mount, "source") != source) continue;
    for (const std::string& path : below) {
      mounts.push_back({{"destination", absl::StrCat(TextOf(mount, "destination"), "/", path)},
                        {"type", "bind"},
                        {"source", absl::StrCat(source, "/", path)},
                        {"options", InheritedOptions(mount)}});
    }
  }
  spec["mounts"] = std::move(mounts);
  return spec.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string WithSources(const std::string& spec_json, const std::map<std::string, std::string>& sources) {
  if (sources.empty()) return spec_json;
  Json spec = Json::parse(spec_json, nullptr, /*allow_exceptions=*/false);
  for (Json& mount : spec["mounts"]) {
    const auto found = sources.find(TextOf(mount, "source"));
    if (found != sources.end()) mount["source"] = found->second;
  }
  return spec.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<GuestProcessSpec> MakeGuestProcess(const std::string& process_json, bool terminal) {
  Json process = Json::parse(process_json, nullptr, /*allow_exceptions=*/false);
  if (process.is_discarded() || !process.is_object()) {
    return absl::InvalidArgumentError("reading an exec's process: it is not a JSON object");
  }
  FieldReport report;
  if (absl::Status status = CheckFields(process, "process", FieldsOf::kCreate, report); !status.ok()) return status;
  process["terminal"] = terminal;
  return GuestProcessSpec{.json = process.dump(-1, ' ', false, Json::error_handler_t::replace),
                          .unknown_fields = report.Text()};
}

absl::Status CheckResources(const std::string& resources_json) {
  const Json resources = Json::parse(resources_json, nullptr, /*allow_exceptions=*/false);
  if (resources.is_discarded() || !resources.is_object())
    return absl::InvalidArgumentError("reading the resources: they are not a JSON object");
  FieldReport report;
  return CheckFields(resources, "linux.resources", FieldsOf::kUpdate, report);
}

}  // namespace kata::virtcontainers
