// SPDX-License-Identifier: Apache-2.0
#include "agent/mount_options.h"

#include <sys/mount.h>

#include <map>

namespace kata::agent {
namespace {

struct Word {
  unsigned long flag;
  bool clears;
};

const std::map<std::string, Word>& FlagWords() {
  static const std::map<std::string, Word> kWords = {{"ro", {MS_RDONLY, false}},
                                                     {"rw", {MS_RDONLY, true}},
                                                     {"nosuid", {MS_NOSUID, false}},
                                                     {"suid", {MS_NOSUID, true}},
                                                     {"nodev", {MS_NODEV, false}},
                                                     {"dev", {MS_NODEV, true}},
                                                     {"noexec", {MS_NOEXEC, false}},
                                                     {"exec", {MS_NOEXEC, true}},
                                                     {"sync", {MS_SYNCHRONOUS, false}},
                                                     {"async", {MS_SYNCHRONOUS, true}},
                                                     {"dirsync", {MS_DIRSYNC, false}},
                                                     {"mand", {MS_MANDLOCK, false}},
                                                     {"nomand", {MS_MANDLOCK, true}},
                                                     {"noatime", {MS_NOATIME, false}},
                                                     {"atime", {MS_NOATIME, true}},
                                                     {"nodiratime", {MS_NODIRATIME, false}},
                                                     {"diratime", {MS_NODIRATIME, true}},
                                                     {"relatime", {MS_RELATIME, false}},
                                                     {"norelatime", {MS_RELATIME, true}},
                                                     {"strictatime", {MS_STRICTATIME, false}},
                                                     {"nostrictatime", {MS_STRICTATIME, true}},
                                                     {"nosymfollow", {MS_NOSYMFOLLOW, false}},
                                                     {"defaults", {0, false}}};
  return kWords;
}

struct RecursiveWord {
  uint64_t attribute;
  bool clears;
};

const std::map<std::string, RecursiveWord>& RecursiveWords() {
  static const std::map<std::string, RecursiveWord> kWords = {
      {"rro", {MOUNT_ATTR_RDONLY, false}},
      {"rrw", {MOUNT_ATTR_RDONLY, true}},
      {"rnosuid", {MOUNT_ATTR_NOSUID, false}},
      {"rsuid", {MOUNT_ATTR_NOSUID, true}},
      {"rnodev", {MOUNT_ATTR_NODEV, false}},
      {"rdev", {MOUNT_ATTR_NODEV, true}},
      {"rnoexec", {MOUNT_ATTR_NOEXEC, false}},
      {"rexec", {MOUNT_ATTR_NOEXEC, true}},
      {"rnodiratime", {MOUNT_ATTR_NODIRATIME, false}},
      {"rdiratime", {MOUNT_ATTR_NODIRATIME, true}},
      {"rrelatime", {MOUNT_ATTR_RELATIME, false}},
      {"rnorelatime", {MOUNT_ATTR_RELATIME, true}},
      {"rnoatime", {MOUNT_ATTR_NOATIME, false}},
      {"ratime", {MOUNT_ATTR_NOATIME, true}},
      {"rstrictatime", {MOUNT_ATTR_STRICTATIME, false}},
      {"rnostrictatime", {MOUNT_ATTR_STRICTATIME, true}},
      {"rnosymfollow", {MOUNT_ATTR_NOSYMFOLLOW, false}},
      {"rsymfollow", {MOUNT_ATTR_NOSYMFOLLOW, true}}};
  return kWords;
}

void AddRecursive(const RecursiveWord& word, MountOptions& out) {
  // The three access time modes are one field, whose old value has to be cleared.
  const bool is_access_time = (word.attribute & ~uint64_t{MOUNT_ATTR__ATIME}) == 0;
  const uint64_t field = is_access_time ? MOUNT_ATTR__ATIME : word.attribute;
  out.recursive_set &= ~field;
  if (!word.clears) out.recursive_set |= word.attribute;
  const bool stays_set = !word.clears && !is_access_time;
  out.recursive_cleared =
      stays_set ? out.recursive_cleared & ~field : out.recursive_cleared | field;
}

const std::map<std::string, unsigned long>& PropagationWords() {
  static const std::map<std::string, unsigned long> kWords = {
      {"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE | MS_REC},
      {"shared", MS_SHARED},         {"rshared", MS_SHARED | MS_REC},
      {"slave", MS_SLAVE},           {"rslave", MS_SLAVE | MS_REC},
      {"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE | MS_REC}};
  return kWords;
}

}  // namespace

MountOptions ParseMountOptions(const std::vector<std::string>& options) {
  MountOptions out;
  for (const std::string& option : options) {
    if (option == "bind" || option == "rbind") {
      out.is_bind = true;
      out.is_recursive_bind = out.is_recursive_bind || option == "rbind";
    } else if (option == "tmpcopyup") {
      out.copies_up = true;
    } else if (auto recursive = RecursiveWords().find(option);
               recursive != RecursiveWords().end()) {
      AddRecursive(recursive->second, out);
    } else if (auto word = FlagWords().find(option); word != FlagWords().end()) {
      unsigned long flag = word->second.flag;
      out.flags = word->second.clears ? out.flags & ~flag : out.flags | flag;
      out.cleared = word->second.clears ? out.cleared | flag : out.cleared & ~flag;
    } else if (auto found = PropagationWords().find(option); found != PropagationWords().end()) {
      out.propagation.push_back(found->second);
    } else {
      if (!out.data.empty()) out.data += ',';
      out.data += option;
    }
  }
  return out;
}

}  // namespace kata::agent
