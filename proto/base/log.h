// SPDX-License-Identifier: Apache-2.0
// One line per event in logrus text form (what containerd copies from a shim's log fifo), one write(2) each.
// Error: what the user asked for did not happen. Warn: abnormal, handled. Info: rare state changes.
// Debug: for developers. Any thread may log; set-up calls belong to the start of main.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/status.h>
#include <absl/strings/string_view.h>
#include <fmt/format.h>

// What Status::message() returns can be logged as it is.
template <>
struct fmt::formatter<absl::string_view> : fmt::formatter<std::string_view> {
  template <typename Context>
  auto format(absl::string_view text, Context& context) const {
    return fmt::formatter<std::string_view>::format(std::string_view(text.data(), text.size()), context);
  }
};

namespace kata::log {

enum class Level { kDebug, kInfo, kWarn, kError };

// Lines go to `fd` (default 2), which must outlive all logging. A line that would block is dropped and counted.
void SetSink(int fd);
void SetLevel(Level level);
bool Enabled(Level level);
// From now on lines are remembered, a few, for KeepIn.
void WillKeep();
// From now on lines are in the file `name` of `directory` as well, with those remembered: kKeptMax bytes at most, then
// that file is named `name`.old, which replaces an earlier one, and begun anew. Where `directory` is moved or
// removed the file is written to until it is full. Of the first caller.
inline constexpr size_t kKeptMax = 256u << 10;
absl::Status KeepIn(const std::string& directory, const std::string& name);
// Fields put on every line, already formed: `sandbox=abc runtime=kata`.
void SetProcessFields(std::string fields);
void Write(Level level, std::string_view message);
// What Write writes, its end of line included.
std::string Line(Level level, std::string_view message);

template <typename... Args>
void Debug(fmt::format_string<Args...> format, Args&&... args) {
  if (Enabled(Level::kDebug)) Write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void Info(fmt::format_string<Args...> format, Args&&... args) {
  Write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void Warn(fmt::format_string<Args...> format, Args&&... args) {
  Write(Level::kWarn, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void Error(fmt::format_string<Args...> format, Args&&... args) {
  Write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace kata::log
