// SPDX-License-Identifier: Apache-2.0
#include "proto/base/mount_options.h"

#include <sys/mount.h>

#include <algorithm>
#include <map>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

namespace kata {
namespace {

// A mount's own attribute; its word with an "r" before it is for the mounts below as well.
struct AttributeWord {
  unsigned long flag;
  uint64_t field;  // the bits that the attribute is part of: access times are one field of three values
  uint64_t value;
  bool is_set;  // else the flag is taken away
};

constexpr uint64_t kTime = MOUNT_ATTR__ATIME;

const std::map<std::string, AttributeWord>& AttributeWords() {
  static const auto* words = new std::map<std::string, AttributeWord>{
      {"ro", {MS_RDONLY, MOUNT_ATTR_RDONLY, MOUNT_ATTR_RDONLY, true}},
      {"rw", {MS_RDONLY, MOUNT_ATTR_RDONLY, 0, false}},
      {"nosuid", {MS_NOSUID, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSUID, true}},
      {"suid", {MS_NOSUID, MOUNT_ATTR_NOSUID, 0, false}},
      {"nodev", {MS_NODEV, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODEV, true}},
      {"dev", {MS_NODEV, MOUNT_ATTR_NODEV, 0, false}},
      {"noexec", {MS_NOEXEC, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOEXEC, true}},
      {"exec", {MS_NOEXEC, MOUNT_ATTR_NOEXEC, 0, false}},
      {"nosymfollow", {MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW, true}},
      {"symfollow", {MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW, 0, false}},
      {"nodiratime", {MS_NODIRATIME, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NODIRATIME, true}},
      {"diratime", {MS_NODIRATIME, MOUNT_ATTR_NODIRATIME, 0, false}},
      {"noatime", {MS_NOATIME, kTime, MOUNT_ATTR_NOATIME, true}},
      {"atime", {MS_NOATIME, kTime, 0, false}},
      {"relatime", {MS_RELATIME, kTime, MOUNT_ATTR_RELATIME, true}},
      {"norelatime", {MS_RELATIME, kTime, 0, false}},
      {"strictatime", {MS_STRICTATIME, kTime, MOUNT_ATTR_STRICTATIME, true}},
      {"nostrictatime", {MS_STRICTATIME, kTime, 0, false}}};
  return *words;
}

// Of the file system: a bind shares it and cannot change it, which the kernel says nothing about.
struct FileSystemWord {
  unsigned long flag;
  bool is_set;
};

const std::map<std::string, FileSystemWord>& FileSystemWords() {
  static const auto* words = new std::map<std::string, FileSystemWord>{{"sync", {MS_SYNCHRONOUS, true}},
                                                                       {"async", {MS_SYNCHRONOUS, false}},
                                                                       {"dirsync", {MS_DIRSYNC, true}},
                                                                       {"mand", {MS_MANDLOCK, true}},
                                                                       {"nomand", {MS_MANDLOCK, false}},
                                                                       {"iversion", {MS_I_VERSION, true}},
                                                                       {"noiversion", {MS_I_VERSION, false}},
                                                                       {"lazytime", {MS_LAZYTIME, true}},
                                                                       {"nolazytime", {MS_LAZYTIME, false}},
                                                                       {"silent", {MS_SILENT, true}},
                                                                       {"loud", {MS_SILENT, false}},
                                                                       {"remount", {MS_REMOUNT, true}},
                                                                       {"defaults", {0, true}}};
  return *words;
}

const std::map<std::string, unsigned long>& PropagationWords() {
  static const auto* words =
      new std::map<std::string, unsigned long>{{"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE | MS_REC},
                                               {"shared", MS_SHARED},         {"rshared", MS_SHARED | MS_REC},
                                               {"slave", MS_SLAVE},           {"rslave", MS_SLAVE | MS_REC},
                                               {"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE | MS_REC}};
  return *words;
}

void Add(const AttributeWord& word, MountAttributes& out) {
  out.set = (out.set & ~word.field) | word.value;
  // A field of several values has to be cleared before it is set; an attribute must not be both.
  const bool is_one_bit = word.field != kTime;
  out.cleared = is_one_bit && word.value != 0 ? out.cleared & ~word.field : out.cleared | word.field;
}

bool AddBind(const std::string& word, MountOptions& out) {
  const bool is_recursive = word == "rbind";
  if (!is_recursive && word != "bind") return false;
  out.is_bind = true;
  out.is_recursive_bind = out.is_recursive_bind || is_recursive;
  return true;
}

bool AddIdMap(const std::string& word, MountOptions& out) {
  const bool is_recursive = word == "ridmap";
  if (!is_recursive && word != "idmap") return false;
  out.maps_ids = true;
  out.maps_ids_recursively = is_recursive;
  return true;
}

bool AddAttribute(const std::string& word, MountOptions& out) {
  if (auto found = AttributeWords().find(word); found != AttributeWords().end()) {
    const AttributeWord& attribute = found->second;
    out.flags = attribute.is_set ? out.flags | attribute.flag : out.flags & ~attribute.flag;
    Add(attribute, out.own);
    return true;
  }
  if (!absl::StartsWith(word, "r")) return false;
  auto found = AttributeWords().find(word.substr(1));
  if (found == AttributeWords().end()) return false;
  Add(found->second, out.recursive);
  return true;
}

// What mount(8) and systemd read in /etc/fstab and keep from the kernel.
bool IsOfUserSpace(const std::string& word) {
  for (const char* prefix : {"x-", "X-", "comment="}) {
    if (absl::StartsWith(word, prefix)) return true;
  }
  for (const char* known : {"_netdev", "auto", "group", "noauto", "nofail", "nouser", "owner", "user", "users"}) {
    if (word == known) return true;
  }
  return false;
}

}  // namespace

std::string MountOptions::Data() const { return absl::StrJoin(rest, ","); }

MountOptions ParseMountOptions(const std::vector<std::string>& options) {
  MountOptions out;
  for (const std::string& option : options) {
    if (AddBind(option, out) || AddIdMap(option, out) || AddAttribute(option, out)) continue;
    if (option == "tmpcopyup") {
      out.copies_up = true;
    } else if (auto word = FileSystemWords().find(option); word != FileSystemWords().end()) {
      out.flags = word->second.is_set ? out.flags | word->second.flag : out.flags & ~word->second.flag;
    } else if (auto found = PropagationWords().find(option); found != PropagationWords().end()) {
      out.propagation.push_back(found->second);
    } else if (!option.empty()) {
      out.rest.push_back(option);
    }
  }
  return out;
}

absl::Status RefuseUnknownWords(const MountOptions& options) {
  for (const std::string& word : options.rest) {
    if (IsOfUserSpace(word)) continue;
    return absl::InvalidArgumentError(absl::StrCat("mount option \"", word, "\" is not known"));
  }
  return absl::OkStatus();
}

// Without "idmap" and "ridmap", which the agent refuses.
std::vector<std::string> MountOptionWords() {
  std::vector<std::string> out = {"bind", "rbind", "tmpcopyup"};
  for (const auto& [word, attribute] : AttributeWords()) {
    out.push_back(word);
    out.push_back("r" + word);
  }
  for (const auto& [word, flag] : FileSystemWords()) out.push_back(word);
  for (const auto& [word, flag] : PropagationWords()) out.push_back(word);
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace kata
