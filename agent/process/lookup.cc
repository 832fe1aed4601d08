// SPDX-License-Identifier: Apache-2.0
#include "agent/process/lookup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

namespace kata::agent {
namespace {

absl::Status Failed(const std::string& name, absl::string_view cause) {
  return absl::InvalidArgumentError(absl::StrCat("exec: \"", name, "\": ", cause));
}

// 0, or the errno that executing `path` would meet.
int Check(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return errno;
  if (S_ISDIR(info.st_mode)) return EISDIR;
  if (::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) != 0) return errno;
  return 0;
}

}  // namespace

std::string EnvironmentValue(const std::vector<std::string>& env, absl::string_view name) {
  const std::string prefix = absl::StrCat(name, "=");
  for (const std::string& item : env) {
    if (item.compare(0, prefix.size(), prefix) == 0) return item.substr(prefix.size());
  }
  return "";
}

std::vector<std::string> DistinctEnvironment(const std::vector<std::string>& env) {
  std::vector<std::string> out;
  std::map<std::string, size_t> places;
  for (const std::string& item : env) {
    auto [at, is_new] = places.try_emplace(item.substr(0, item.find('=')), out.size());
    if (is_new) {
      out.push_back(item);
    } else {
      out[at->second] = item;
    }
  }
  return out;
}

void SetEnvironmentValue(std::vector<std::string>& env, absl::string_view name, absl::string_view value) {
  const std::string prefix = absl::StrCat(name, "=");
  for (std::string& item : env) {
    if (item.compare(0, prefix.size(), prefix) != 0) continue;
    item = absl::StrCat(prefix, value);
    return;
  }
  env.push_back(absl::StrCat(prefix, value));
}

absl::StatusOr<std::string> FindProgram(const std::string& name, const std::string& search_path) {
  if (name.find('/') != std::string::npos) {
    switch (Check(name)) {
      case 0:
        return name;
      case ENOTDIR:
        return Failed(name, "not a directory");
      case ENOENT:
        return Failed(name, "no such file or directory");
      case EISDIR:
        return Failed(name, "is a directory");
      default:
        return Failed(name, "permission denied");
    }
  }
  bool was_denied = false;
  for (absl::string_view directory : absl::StrSplit(search_path, ':')) {
    const std::string path = absl::StrCat(directory.empty() ? "." : directory, "/", name);
    int error = Check(path);
    if (error == 0) return path;
    was_denied = was_denied || error == EACCES;
  }
  return Failed(name, was_denied ? "permission denied" : "executable file not found in $PATH");
}

}  // namespace kata::agent
