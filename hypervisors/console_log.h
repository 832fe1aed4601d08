// SPDX-License-Identifier: Apache-2.0
// The lines of a guest's console in the shim's log: those of the kernel and of the agent that tell of trouble always,
// the rest when it is asked for, or at level debug. The guest may write without end, and what it likes: lines are cut,
// and only so many of a machine are logged. Io thread.
#pragma once

#include <string>
#include <string_view>

namespace kata::hypervisors {

inline constexpr size_t kConsoleLineSize = 512;  // the rest of a longer line is not logged
inline constexpr size_t kConsoleLinesLogged = 20'000;
inline constexpr size_t kConsoleTroublesLogged = 1'000;

class ConsoleLog {
 public:
  // From now on each line is logged, at level info.
  void LogAll() { logs_all_ = true; }
  void Append(std::string_view data);

 private:
  void LogLine(const std::string& line);

  bool logs_all_ = false;
  std::string line_;
  size_t lines_left_ = kConsoleLinesLogged;
  size_t troubles_left_ = kConsoleTroublesLogged;
};

}  // namespace kata::hypervisors
