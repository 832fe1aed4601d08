// SPDX-License-Identifier: Apache-2.0
#include "proto/base/log.h"

#include <time.h>
#include <unistd.h>

#include <atomic>
#include <utility>

namespace kata::log {
namespace {

constexpr size_t kLineSizeMax = 4096;  // PIPE_BUF: a line of at most this size is written whole or not at all

std::atomic<int> g_fd{2};
std::atomic<Level> g_level{Level::kInfo};
std::atomic<unsigned> g_dropped{0};
std::string* g_fields = new std::string;  // set once at start, never freed: threads may log until exit

const char* Name(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarn:
      return "warning";
    case Level::kError:
      return "error";
  }
  return "error";
}

std::string Quote(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += ' ';
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace

void SetSink(int fd) { g_fd = fd; }
void SetLevel(Level level) { g_level = level; }
bool Enabled(Level level) { return level >= g_level.load(); }
void SetProcessFields(std::string fields) { *g_fields = std::move(fields); }

namespace {

std::string Compose(Level level, std::string_view message, unsigned lost) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  gmtime_r(&now.tv_sec, &parts);
  char stamp[32];
  strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &parts);
  std::string line = fmt::format("time=\"{}.{:09}Z\" level={} msg={}", stamp, now.tv_nsec, Name(level),
                                 Quote(message.substr(0, kLineSizeMax / 2)));
  if (!g_fields->empty()) line += ' ' + *g_fields;
  if (lost != 0) line += fmt::format(" lost-lines={}", lost);
  if (line.size() >= kLineSizeMax) line.resize(kLineSizeMax - 1);
  return line + '\n';
}

}  // namespace

std::string Line(Level level, std::string_view message) { return Compose(level, message, 0); }

void Write(Level level, std::string_view message) {
  if (!Enabled(level)) return;
  const std::string line = Compose(level, message, g_dropped.exchange(0));
  if (::write(g_fd, line.data(), line.size()) < 0) ++g_dropped;
}

}  // namespace kata::log
