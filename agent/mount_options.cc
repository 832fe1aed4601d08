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
                                                     {"rro", {MS_RDONLY, false}},
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
