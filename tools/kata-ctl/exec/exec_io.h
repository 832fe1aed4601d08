// SPDX-License-Identifier: Apache-2.0
// The standard streams of a program in a container: fifos that its shim opens, and what is copied between them and
// ours. Blocking.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::ctl {

// In a directory of root's, which goes with it.
class ExecIo {
 public:
  // With a terminal there is no standard error.
  static absl::StatusOr<ExecIo> Make(bool has_terminal);
  ExecIo(ExecIo&&) = default;
  ExecIo& operator=(ExecIo&&) = default;
  ~ExecIo();

  std::string stdin_path() const { return directory_.path + "/in"; }
  std::string stdout_path() const { return directory_.path + "/out"; }
  std::string stderr_path() const { return has_terminal_ ? "" : directory_.path + "/err"; }

  // The paths are not needed any more: the program has been started with them.
  void Forget();

  // Copies until `done` is readable, and what is in the fifos then. `on_input_end`: ours has ended, and all of it is in
  // the fifo.
  void Copy(int done, const std::function<void()>& on_input_end);

 private:
  struct Directory {
    std::string path;
    Directory() = default;
    Directory(Directory&& other) noexcept : path(std::exchange(other.path, "")) {}
    Directory& operator=(Directory&& other) noexcept {
      std::swap(path, other.path);
      return *this;
    }
  };

  ExecIo() = default;
  // What came of our standard input goes on as the fifo has room for it.
  void FillInput();
  void WriteInput();

  Directory directory_;
  bool has_terminal_ = false;
  std::string pending_;  // of our standard input
  bool has_input_ = true;
  UniqueFd in_;
  UniqueFd out_;
  UniqueFd err_;
};

// Our terminal gives each key as it comes, as long as this lives.
class RawTerminal {
 public:
  explicit RawTerminal(bool is_wanted);
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal();

 private:
  struct State;
  std::unique_ptr<State> before_;
};

}  // namespace kata::ctl
