// SPDX-License-Identifier: Apache-2.0
// Makes the child process of a container or an exec by clone3, straight into its cgroup. Parent and
// child talk over a SOCK_SEQPACKET pair until the program runs: one message is one step, end of
// file means execve succeeded. Io thread only (the agent has no other, so the child may use all of
// the library).
#pragma once

#include <sys/types.h>

#include <array>
#include <memory>
#include <string>

#include <absl/status/statusor.h>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "agent/spec.h"
#include "proto/base/coro.h"
#include "proto/base/fd.h"

namespace kata::agent {

// Bytes of one message, an error text included.
inline constexpr size_t kControlMessageMax = 4096;
inline constexpr char kControlReady = 'R';
inline constexpr char kControlStart = 'S';
inline constexpr char kControlError = 'E';     // then one byte code and the text
inline constexpr char kControlTerminal = 'T';  // with the pty master as SCM_RIGHTS

struct LaunchOptions {
  const ContainerSpec* container = nullptr;
  const ProcessSpec* process = nullptr;
  bool is_exec = false;
  int cgroup_fd = -1;
  int init_pidfd = -1;        // exec: whose namespaces to join
  int pid_namespace_fd = -1;  // exec, or an init that joins another's pid namespace
  int ipc_namespace_fd = -1;
  int uts_namespace_fd = -1;
  std::array<int, 3> stdio = {-1, -1,
                              -1};  // the child's ends; -1 = /dev/null, all unused for a terminal
};

// The parent's end of the conversation.
class ControlChannel {
 public:
  struct Message {
    char kind = 0;  // 0 = end of file
    absl::Status error;
    UniqueFd fd;
  };
  ControlChannel(asio::any_io_executor executor, UniqueFd socket);
  // Cancelled after Cancel.
  Co<absl::StatusOr<Message>> Receive();
  void Cancel();
  absl::Status SendStart();

 private:
  asio::posix::stream_descriptor socket_;
};

struct Launched {
  pid_t pid = -1;
  UniqueFd pidfd;
  std::unique_ptr<ControlChannel> control;
};

absl::StatusOr<Launched> Launch(asio::any_io_executor executor, const LaunchOptions& options);

// The child's whole life; `control` is its end. In child.cc.
[[noreturn]] void RunChild(const LaunchOptions& options, int control);

}  // namespace kata::agent
