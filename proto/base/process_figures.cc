// SPDX-License-Identifier: Apache-2.0
#include "proto/base/process_figures.h"

#include <unistd.h>

#include <filesystem>
#include <iterator>
#include <string>
#include <system_error>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "proto/base/fd.h"

namespace kata {
namespace {

constexpr size_t kProcFileMax = 1u << 16;
constexpr uint64_t kKibibyte = 1024;
// Fields of /proc/PID/stat behind the name's bracket, from 0: the 14th and 15th of the file.
constexpr size_t kUserTicks = 11;
constexpr size_t kSystemTicks = 12;

double Seconds(const std::string& ticks) {
  static const auto per_second = static_cast<double>(::sysconf(_SC_CLK_TCK));
  uint64_t value = 0;
  return absl::SimpleAtoi(ticks, &value) ? static_cast<double>(value) / per_second : 0;
}

void ReadStatus(const std::string& text, ProcessFigures& out) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    // "RssAnon:\t  1234 kB"
    const std::vector<absl::string_view> words = absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    uint64_t value = 0;
    if (words.size() < 2 || !absl::SimpleAtoi(words[1], &value)) continue;
    if (words[0] == "RssAnon:") out.anonymous_bytes = value * kKibibyte;
    if (words[0] == "RssFile:") out.file_bytes = value * kKibibyte;
    if (words[0] == "RssShmem:") out.shared_bytes = value * kKibibyte;
    if (words[0] == "Threads:") out.threads = value;
  }
}

}  // namespace

std::optional<ProcessFigures> ReadProcessFigures(pid_t pid) {
  if (pid <= 0) return std::nullopt;
  const std::string directory = absl::StrCat("/proc/", pid);
  auto stat = ReadFile(directory + "/stat", kProcFileMax);
  auto status = ReadFile(directory + "/status", kProcFileMax);
  if (!stat.ok() || !status.ok()) return std::nullopt;
  ProcessFigures out;
  const size_t after_name = stat->rfind(')');
  if (after_name == std::string::npos) return std::nullopt;
  const std::vector<std::string> fields = absl::StrSplit(stat->substr(after_name + 2), ' ');
  if (fields.size() <= kSystemTicks) return std::nullopt;
  out.user_seconds = Seconds(fields[kUserTicks]);
  out.system_seconds = Seconds(fields[kSystemTicks]);
  ReadStatus(*status, out);
  std::error_code error;
  const std::filesystem::directory_iterator files(directory + "/fd", error);
  if (!error) out.open_files = static_cast<uint64_t>(std::distance(begin(files), end(files)));
  return out;
}

}  // namespace kata
