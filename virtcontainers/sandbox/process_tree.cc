// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/process_tree.h"

#include <dirent.h>

#include <memory>
#include <string>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "proto/base/fd.h"

namespace kata::virtcontainers {
namespace {

constexpr size_t kChildrenSizeMax = 64u << 10;
constexpr size_t kThreadsMax = 4096;
constexpr size_t kProcessesMax = 64;

std::vector<pid_t> Numbers(const std::string& text) {
  std::vector<pid_t> out;
  for (absl::string_view word : absl::StrSplit(text, ' ', absl::SkipWhitespace())) {
    pid_t number = 0;
    if (absl::SimpleAtoi(word, &number)) out.push_back(number);
  }
  return out;
}

}  // namespace

std::vector<pid_t> ThreadsOf(pid_t pid) {
  std::vector<pid_t> out;
  std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(absl::StrCat("/proc/", pid, "/task").c_str()), ::closedir);
  if (entries == nullptr) return out;
  while (const dirent* entry = ::readdir(entries.get())) {
    pid_t tid = 0;
    if (out.size() < kThreadsMax && absl::SimpleAtoi(entry->d_name, &tid)) out.push_back(tid);
  }
  return out;
}

std::vector<pid_t> WithDescendants(pid_t pid) {
  std::vector<pid_t> out = {pid};
  for (size_t i = 0; i < out.size(); ++i) {
    for (pid_t tid : ThreadsOf(out[i])) {
      auto children = ReadFile(absl::StrCat("/proc/", out[i], "/task/", tid, "/children"), kChildrenSizeMax);
      if (!children.ok()) continue;
      for (pid_t child : Numbers(*children)) {
        if (out.size() < kProcessesMax) out.push_back(child);
      }
    }
  }
  return out;
}

}  // namespace kata::virtcontainers
