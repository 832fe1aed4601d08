// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/oom_score.h"

#include <string>

#include <absl/strings/ascii.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"
#include "virtcontainers/sandbox/process_tree.h"

namespace kata::virtcontainers {
namespace {

constexpr size_t kNumberSizeMax = 16;

absl::Status Raise(pid_t pid, int score) {
  const std::string path = absl::StrCat("/proc/", pid, "/oom_score_adj");
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kNumberSizeMax));
  int current = 0;
  if (!absl::SimpleAtoi(absl::StripAsciiWhitespace(text), &current))
    return absl::InternalError(absl::StrCat("reading \"", path, "\": it is not a number"));
  return current >= score ? absl::OkStatus() : WriteExisting(path, absl::StrCat(score));
}

}  // namespace

absl::Status RaiseOomScore(const std::vector<pid_t>& pids, int score) {
  absl::Status status;
  for (pid_t pid : pids) {
    for (pid_t one : WithDescendants(pid)) status.Update(Raise(one, score));
  }
  return Annotate(status, absl::StrCat("setting process.oomScoreAdj ", score, " on the host"));
}

}  // namespace kata::virtcontainers
