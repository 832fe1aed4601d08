// SPDX-License-Identifier: Apache-2.0
// The one way to start another program. The child gets a clean signal state and the descriptors that it is given, no
// others. Blocking until it runs; any thread that lives as long as the child where it is to die with its parent (the
// kernel means the thread).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata {

struct ChildOptions {
  std::string name;                      // what it is, for errors: "virtiofsd"
  std::vector<std::string> words;        // words[0]: the program's absolute path
  std::string program;                   // its absolute path where words[0] is another name
  std::vector<std::string> environment;  // "NAME=value"; nothing is inherited
  std::string directory;                 // where it runs; empty: where we do
  // Descriptors of ours that it finds at 3, 4, …
  std::vector<int> descriptors;
  int input = -1;                 // what 0 is; -1: /dev/null
  int output = -1;                // what 1 and 2 are; -1: /dev/null
  bool leads_session = false;     // else it leads a process group
  bool dies_with_parent = false;  // SIGKILL when the calling thread ends
  // Runs in the child while all of the parent's descriptors are open: async-signal-safe calls only. Null, or with errno
  // set what could not be done, a string literal.
  std::function<const char*()> prepare;
};

// For `output`: the end that is read does not block.
struct OutputPipe {
  UniqueFd read;
  UniqueFd write;
};
absl::StatusOr<OutputPipe> MakeOutputPipe();

struct ChildProcess {
  pid_t pid = 0;  // 0: none
  UniqueFd pidfd;
};

// Runs once it returns: what keeps it from running is the error, which names the program. The program runs after
// `on_made`, which is told the pid, has returned; its error ends the child before it has become anything.
absl::StatusOr<ChildProcess> StartChild(const ChildOptions& options,
                                        const std::function<absl::Status(pid_t)>& on_made = nullptr);
// SIGKILL, at most `timeout` for its end, and waits for it, so that no zombie stays. OK when there is none.
absl::Status EndChild(ChildProcess& child, absl::string_view what, std::chrono::milliseconds timeout);

}  // namespace kata
