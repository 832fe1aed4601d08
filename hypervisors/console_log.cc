// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/console_log.h"

#include "proto/base/log.h"

namespace kata::hypervisors {
namespace {

bool Has(std::string_view line, std::string_view words) { return line.find(words) != std::string_view::npos; }

// The agent writes the shim's own form of lines, through the kernel, which may put its own time before them.
bool IsAgentTrouble(std::string_view line) {
  return Has(line, "time=\"") && (Has(line, "\" level=warning ") || Has(line, "\" level=error "));
}

// False once there were as many as may be; the last one is told of.
bool TakeOne(size_t& left, const char* what, size_t all) {
  if (left == 0) return false;
  if (--left == 0) log::Warn("the guest's console has had {} {}; no more are logged", all, what);
  return left > 0;
}

}  // namespace

void ConsoleLog::Append(std::string_view data) {
  for (const char c : data) {
    if (c == '\n') {
      LogLine(line_);
      line_.clear();
    } else if (c >= ' ' && c <= '~' && line_.size() < kConsoleLineSize) {
      line_.push_back(c);
    }
  }
}

void ConsoleLog::LogLine(const std::string& line) {
  const bool is_panic = Has(line, "Kernel panic - not syncing");
  const bool is_kill = Has(line, "ut of memory: Killed process");  // "Out of", or "Memory cgroup out of"
  if (is_panic || is_kill || IsAgentTrouble(line)) {
    if (!TakeOne(troubles_left_, "lines of trouble", kConsoleTroublesLogged)) return;
    if (is_panic)
      log::Error("the guest's kernel has panicked: {}", line);
    else if (is_kill)
      log::Warn("the guest's kernel has killed a process for want of memory: {}", line);
    else
      log::Warn("the guest's agent: {}", line);
    return;
  }
  if (!logs_all_ && !log::Enabled(log::Level::kDebug)) return;
  if (!TakeOne(lines_left_, "lines", kConsoleLinesLogged)) return;
  if (logs_all_)
    log::Info("guest: {}", line);
  else
    log::Debug("guest: {}", line);
}

}  // namespace kata::hypervisors
