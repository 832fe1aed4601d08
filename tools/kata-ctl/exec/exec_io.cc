// SPDX-License-Identifier: Apache-2.0
#include "tools/kata-ctl/exec/exec_io.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "proto/base/status.h"

namespace kata::ctl {
namespace {

constexpr size_t kChunk = 32u << 10;

// Both ends are held: the shim's opens do not wait for us, nor ours for it.
absl::StatusOr<UniqueFd> MakeFifo(const std::string& path) {
  if (::mkfifo(path.c_str(), 0600) != 0) return ErrnoStatus(errno, absl::StrCat("making \"", path, "\""));
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("opening \"", path, "\""));
  return fd;
}

// False when there is nothing to be read.
bool CopyOnce(int from, int to) {
  std::array<char, kChunk> chunk;
  const ssize_t size = ::read(from, chunk.data(), chunk.size());
  if (size <= 0) return false;
  WriteAll(to, {chunk.data(), static_cast<size_t>(size)}).IgnoreError();
  return true;
}

}  // namespace

absl::StatusOr<ExecIo> ExecIo::Make(bool has_terminal) {
  ExecIo io;
  io.has_terminal_ = has_terminal;
  std::string pattern = "/run/kata-ctl-exec-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) return ErrnoStatus(errno, "making a directory for fifos");
  io.directory_.path = pattern;
  ASSIGN_OR_RETURN(io.in_, MakeFifo(io.stdin_path()));
  ASSIGN_OR_RETURN(io.out_, MakeFifo(io.stdout_path()));
  if (!has_terminal) {
    ASSIGN_OR_RETURN(io.err_, MakeFifo(io.stderr_path()));
  }
  return io;
}

ExecIo::~ExecIo() { Forget(); }

void ExecIo::Forget() {
  const std::string path = std::exchange(directory_.path, std::string());
  if (path.empty()) return;
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

void ExecIo::FillInput() {
  pending_.resize(kChunk);
  const ssize_t size = ::read(STDIN_FILENO, pending_.data(), pending_.size());
  pending_.resize(static_cast<size_t>(std::max<ssize_t>(size, 0)));
  has_input_ = size > 0 || (size < 0 && (errno == EINTR || errno == EAGAIN));
}

void ExecIo::WriteInput() {
  const ssize_t size = ::write(in_.get(), pending_.data(), pending_.size());
  if (size > 0) pending_.erase(0, static_cast<size_t>(size));
  // Nobody reads it any more: the program has ended.
  if (size < 0 && errno != EINTR && errno != EAGAIN) pending_.clear();
}

void ExecIo::Copy(int done, const std::function<void()>& on_input_end) {
  bool is_done = false;
  while (!is_done) {
    const bool wants_input = has_input_ && pending_.empty();
    std::array<pollfd, 5> waits = {{{wants_input ? STDIN_FILENO : -1, POLLIN, 0},
                                    {pending_.empty() ? -1 : in_.get(), POLLOUT, 0},
                                    {out_.get(), POLLIN, 0},
                                    {err_.valid() ? err_.get() : -1, POLLIN, 0},
                                    {done, POLLIN, 0}}};
    if (::poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) return;
    if (waits[0].revents != 0) FillInput();
    if (waits[1].revents != 0) WriteInput();
    if (!has_input_ && pending_.empty() && in_.valid()) {
      in_.reset();
      on_input_end();
    }
    if (waits[2].revents != 0) CopyOnce(out_.get(), STDOUT_FILENO);
    if (waits[3].revents != 0) CopyOnce(err_.get(), STDERR_FILENO);
    is_done = waits[4].revents != 0;
  }
  // The exit is told once the output is with us.
  while (CopyOnce(out_.get(), STDOUT_FILENO)) {
  }
  while (err_.valid() && CopyOnce(err_.get(), STDERR_FILENO)) {
  }
}

struct RawTerminal::State {
  termios settings{};
};

RawTerminal::RawTerminal(bool is_wanted) {
  termios settings{};
  if (!is_wanted || ::tcgetattr(STDIN_FILENO, &settings) != 0) return;
  before_ = std::make_unique<State>(State{settings});
  ::cfmakeraw(&settings);
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &settings);
}

RawTerminal::~RawTerminal() {
  if (before_ == nullptr) return;
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_->settings);
}

}  // namespace kata::ctl
