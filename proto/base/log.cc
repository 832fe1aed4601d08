// SPDX-License-Identifier: Apache-2.0
#include "proto/base/log.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <mutex>
#include <utility>

#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::log {
namespace {

constexpr size_t kLineSizeMax = 4096;  // PIPE_BUF: a line of at most this size is written whole or not at all

std::atomic<int> g_fd{2};
std::atomic<Level> g_level{Level::kInfo};
std::atomic<unsigned> g_dropped{0};
std::atomic<bool> g_is_kept{false};
constexpr size_t kEarlyMax = 64u << 10;

// The lines that are kept beside the sink.
class Kept {
 public:
  absl::Status Open(const std::string& directory, const std::string& name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (directory_.valid()) return absl::OkStatus();
    UniqueFd at(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!at.valid()) return ErrnoStatus(errno, absl::StrCat("opening \"", directory, "\""));
    directory_ = std::move(at);
    name_ = name;
    if (!Begin()) return ErrnoStatus(errno, absl::StrCat("creating \"", directory, "/", name, "\""));
    Put(std::exchange(early_, std::string()));
    return absl::OkStatus();
  }

  void Write(const std::string& line) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!directory_.valid()) {
      if (early_.size() + line.size() <= kEarlyMax) early_ += line;
      return;
    }
    if (size_ + line.size() > kKeptMax) {
      const std::string old = name_ + ".old";
      file_.reset();
      if (::renameat(directory_.get(), name_.c_str(), directory_.get(), old.c_str()) != 0 || !Begin()) return;
    }
    Put(line);
  }

 private:
  bool Begin() {
    constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
    file_.reset(::openat(directory_.get(), name_.c_str(), kFlags, 0600));
    size_ = 0;
    return file_.valid();
  }
  // A full disk costs the line and nothing else.
  void Put(const std::string& text) {
    if (!file_.valid()) return;
    size_ += text.size();
    WriteAll(file_.get(), text).IgnoreError();
  }

  std::mutex mutex_;
  std::string early_;  // until there is a file
  UniqueFd directory_;
  std::string name_;
  UniqueFd file_;
  size_t size_ = 0;
};

Kept* g_kept = new Kept;                  // never freed: threads may log until exit
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
void WillKeep() { g_is_kept = true; }
absl::Status KeepIn(const std::string& directory, const std::string& name) { return g_kept->Open(directory, name); }
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
  if (g_is_kept) g_kept->Write(line);
}

}  // namespace kata::log
