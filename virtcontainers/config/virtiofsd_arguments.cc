// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/config/virtiofsd_arguments.h"

#include <algorithm>

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>

namespace kata::virtcontainers {
namespace {

// Without dashes, "_" as "-"; of both programs, and what makes them end at once or go into the background.
constexpr const char* kOwnNames[] = {"fd",
                                     "socket-path",
                                     "socket-group",
                                     "vhost-user-socket",
                                     "source",
                                     "shared-dir",
                                     "cache",
                                     "timeout",
                                     "sandbox",
                                     "xattr",
                                     "xattrmap",
                                     "no-xattr",
                                     "posix-acl",
                                     "no-posix-acl",
                                     "log-level",
                                     "rlimit-nofile",
                                     "announce-submounts",
                                     "no-announce-submounts",
                                     "inode-file-handles",
                                     "modcaps",
                                     "daemonize",
                                     "f",
                                     "d",
                                     "help",
                                     "h",
                                     "version",
                                     "V",
                                     "print-capabilities"};

}  // namespace

absl::Status CheckVirtiofsdArgument(const std::string& argument) {
  // "-o a=b,c" and "-oa=b" have several; the argument after a bare "-o" has no dashes.
  std::string text = argument;
  if (absl::StartsWith(text, "-o")) text = text.substr(2);
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    part = absl::StripAsciiWhitespace(part);
    while (absl::ConsumePrefix(&part, "-")) {
    }
    const std::string name = absl::StrReplaceAll(part.substr(0, part.find_first_of("= ")), {{"_", "-"}});
    if (std::find(std::begin(kOwnNames), std::end(kOwnNames), name) == std::end(kOwnNames)) continue;
    return absl::InvalidArgumentError(absl::StrCat("\"", argument, "\": the runtime sets \"", name, "\" itself",
                                                   name == "cache" ? ", by virtio_fs_cache" : ": take it out"));
  }
  return absl::OkStatus();
}

}  // namespace kata::virtcontainers
