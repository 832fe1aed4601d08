// SPDX-License-Identifier: Apache-2.0
// The containerds that run here: whether they find the shim, and may let it open enough files.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "proto/base/fd.h"
#include "tools/kata-ctl/check/finding.h"

namespace kata::ctl {
namespace {

constexpr char kProgram[] = "containerd-shim-kata-v2";
constexpr size_t kProcFileMax = 1u << 20;
// virtiofsd holds a file open for each that a guest knows.
constexpr uint64_t kFilesWanted = 100'000;

std::vector<pid_t> Containerds() {
  std::vector<pid_t> pids;
  std::error_code error;
  for (std::filesystem::directory_iterator at("/proc", error), end; !error && at != end; at.increment(error)) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(at->path().filename().string(), &pid)) continue;
    if (ReadFile(at->path().string() + "/comm", kProcFileMax).value_or("") == "containerd\n") pids.push_back(pid);
  }
  return pids;
}

std::string Member(const std::string& file, pid_t pid, const std::string& prefix, char separator) {
  const std::string text = ReadFile(absl::StrCat("/proc/", pid, "/", file), kProcFileMax).value_or("");
  for (absl::string_view entry : absl::StrSplit(text, separator)) {
    if (absl::StartsWith(entry, prefix)) return std::string(entry.substr(prefix.size()));
  }
  return "";
}

std::string FindIn(const std::string& path_list) {
  for (absl::string_view directory : absl::StrSplit(path_list, ':', absl::SkipEmpty())) {
    const std::string program = absl::StrCat(directory, "/", kProgram);
    if (::access(program.c_str(), X_OK) == 0) return program;
  }
  return "";
}

Finding CheckShim(const std::string& name, pid_t pid, const std::string& shim) {
  const std::string found = FindIn(Member("environ", pid, "PATH=", '\0'));
  const std::string fix = absl::StrCat("ln -s ", shim, " /usr/local/bin/, or add its directory to containerd's PATH");
  if (found.empty()) return {name, Level::kError, absl::StrCat("it does not find ", kProgram, " in its PATH"), fix};
  std::error_code error;
  if (!std::filesystem::equivalent(found, shim, error))
    return {name, Level::kWarning, absl::StrCat("it finds ", found, ", which is not ", shim), fix};
  return {name, Level::kGood, absl::StrCat("it finds ", found), ""};
}

Finding CheckOpenFiles(const std::string& name, pid_t pid) {
  // "Max open files            1024                 524288               files"
  const std::string line = Member("limits", pid, "Max open files", '\n');
  const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
  uint64_t most = 0;
  if (words.size() < 2 || (words[1] != "unlimited" && !absl::SimpleAtoi(words[1], &most)))
    return {name, Level::kNote, "its limit of open files cannot be read", ""};
  if (words[1] == "unlimited" || most >= kFilesWanted)
    return {name, Level::kGood, absl::StrCat("it may open ", words[1], " files"), ""};
  return {name, Level::kWarning,
          absl::StrCat("it may open ", most,
                       " files only, one for each that a guest knows: guests forget files early, and a pod that uses "
                       "more at once gets \"too many open files\""),
          "systemctl edit containerd: [Service] LimitNOFILE=1048576"};
}

}  // namespace

Findings CheckContainerd(const std::string& shim) {
  Findings findings;
  for (const pid_t pid : Containerds()) {
    const std::string name = absl::StrCat("containerd ", pid);
    findings.push_back(CheckShim(name, pid, shim));
    findings.push_back(CheckOpenFiles(name, pid));
  }
  if (findings.empty())
    findings.push_back({"containerd", Level::kNote, "none runs here", "systemctl start containerd"});
  return findings;
}

}  // namespace kata::ctl
