// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/kept_logs.h"

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "proto/base/fd.h"
#include "virtcontainers/paths.h"
#include "virtcontainers/sandbox/runtime_directory.h"
#include "virtcontainers/test/apart.h"

namespace kata::virtcontainers {
namespace {

namespace fs = std::filesystem;

std::string Write(const std::string& id, const std::string& log) {
  absl::Status status = MakeRuntimeDirectory(id);
  status.Update(WriteFileAtomically(RuntimeDirectory(id) + "/log", log, 0600));
  WriteConsole(id, "Linux of " + id);
  KeepLogs(id);
  return std::string(status.message());
}

std::string Read(const std::string& id, const std::string& name) {
  return ReadFile(EndedDirectory(id) + "/" + name, 1u << 20).value_or("none");
}

std::string MovedAndReplaced() {
  if (std::string problem = Write("one", "first"); !problem.empty()) return problem;
  if (Read("one", "log") != "first" || Read("one", "console") != "Linux of one") return "they were not kept";
  if (fs::exists(RuntimeDirectory("one") + "/log")) return "the log was copied";
  KeepLogs("one");
  if (Read("one", "log") != "first") return "a second time has lost them";
  if (std::string problem = Write("one", "second"); !problem.empty()) return problem;
  return Read("one", "log") == "second" ? "" : "the earlier pod's is still there";
}

std::string OldestForgotten() {
  if (std::string problem = Write("one", "x"); !problem.empty()) return problem;
  fs::last_write_time(EndedDirectory("one"), fs::last_write_time(EndedDirectory("one")) - std::chrono::hours(1));
  for (size_t i = 0; i < kEndedMax; ++i) {
    if (std::string problem = Write("pod" + std::to_string(i), "x"); !problem.empty()) return problem;
  }
  if (Read("one", "log") != "none") return "the oldest is still there";
  const auto count = std::distance(fs::directory_iterator(EndedDirectory("")), fs::directory_iterator());
  return static_cast<size_t>(count) == kEndedMax ? "" : "there are " + std::to_string(count);
}

TEST(KeptLogs, AreMovedAndReplaceThoseOfAnEarlierPod) { RunApart(MovedAndReplaced); }
TEST(KeptLogs, OfThePodsThatEndedLast) { RunApart(OldestForgotten); }

}  // namespace
}  // namespace kata::virtcontainers
