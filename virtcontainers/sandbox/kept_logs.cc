// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/kept_logs.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "proto/base/fd.h"
#include "proto/base/log.h"
#include "proto/base/status.h"
#include "virtcontainers/paths.h"

namespace kata::virtcontainers {
namespace {

namespace fs = std::filesystem;

constexpr char kOldLog[] = "log.old";
constexpr char kTimeline[] = "timeline";

// Several shims may do this at a time: what one has removed is gone for the other.
void ForgetOldest() {
  std::vector<std::pair<fs::file_time_type, fs::path>> ended;
  std::error_code error;
  for (fs::directory_iterator at(EndedDirectory(""), error), end; !error && at != end; at.increment(error)) {
    std::error_code gone;
    const fs::file_time_type when = fs::last_write_time(at->path(), gone);
    if (!gone) ended.emplace_back(when, at->path());
  }
  if (ended.size() <= kEndedMax) return;
  std::sort(ended.begin(), ended.end());
  ended.resize(ended.size() - kEndedMax);
  for (const auto& [when, path] : ended) fs::remove_all(path, error);
}

}  // namespace

void WriteConsole(const std::string& sandbox_id, std::string_view console) {
  const std::string file = absl::StrCat(RuntimeDirectory(sandbox_id), "/", kConsoleName);
  const absl::Status written = WriteFileAtomically(file, console, 0600);
  if (!written.ok()) log::Debug("keeping the console: {}", written.message());
}

void KeepLogs(const std::string& sandbox_id) {
  const std::string from = RuntimeDirectory(sandbox_id);
  const std::string to = EndedDirectory(sandbox_id);
  std::error_code error;
  if (!fs::exists(absl::StrCat(from, "/", kLogName), error)) return;
  fs::remove_all(to, error);  // an earlier pod of this name
  const absl::Status made = MakeDirs(to, 0700);
  if (!made.ok()) {
    log::Warn("keeping the log: {}", made.message());
    return;
  }
  for (const char* name : {kLogName, kOldLog, kTimeline, kConsoleName}) {
    const std::string source = absl::StrCat(from, "/", name);
    if (::rename(source.c_str(), absl::StrCat(to, "/", name).c_str()) != 0 && errno != ENOENT)
      log::Warn("keeping \"{}\": {}", source, ErrnoStatus(errno, "moving it").message());
  }
  ForgetOldest();
}

}  // namespace kata::virtcontainers
