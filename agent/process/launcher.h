// SPDX-License-Identifier: Apache-2.0
// Makes the child process of a container or an exec by clone3. Parent and child talk over a
// SOCK_SEQPACKET pair until the program runs: one message is one step, end of file means execve
// succeeded. Io thread only (the agent has no other, so the child may use all of the library).
//
// A container's processes see one of an exec as soon as it is in their pid namespace, and with
// CAP_SYS_PTRACE they can take it over. So an exec has two: the first, in the guest's pid namespace,
// leaves the guest's root, closes what is the agent's and gives up its rights; the second is born of
// it in the container's and becomes the program. The first stays until the second's number is
// known, so that no exit is lost; then the second is the child of PID 1.
//
// Set-up happens in a cgroup outside of the container's limits, which the process enters last.
#pragma once

#include <sys/types.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "agent/oci/spec.h"
#include "proto/base/coro.h"
#include "proto/base/fd.h"

namespace kata::agent {

// Bytes of one message, an error text included.
inline constexpr size_t kControlMessageMax = 4096;
inline constexpr char kControlReady = 'R';
inline constexpr char kControlStart = 'S';
// What only the agent's root may do for the child is done: it may begin.
inline constexpr char kControlBegin = 'B';
inline constexpr char kControlError = 'E';     // then one byte code and the text
inline constexpr char kControlTerminal = 'T';  // with the pty master as SCM_RIGHTS
inline constexpr char kControlFilter = 'F';    // of an init, with the compiled filter in a file
inline constexpr char kControlSecond = 'P';    // of an exec, with its pidfd; then the pid
inline constexpr char kControlKnown = 'K';     // the answer to it

struct LaunchOptions {
  const ContainerSpec* container = nullptr;
  const ProcessSpec* process = nullptr;
  const SeccompProgram* seccomp = nullptr;  // exec: the container's filter, if it has one
  std::string container_id;
  bool is_exec = false;
  int cgroup_fd = -1;         // where it is born: init in its own, exec where it is set up
  int set_up_procs_fd = -1;   // cgroup.procs of where it is set up
  int final_procs_fd = -1;    // cgroup.procs of where it runs
  int init_pidfd = -1;        // exec: whose namespaces to join
  int pid_namespace_fd = -1;  // exec, or an init that joins another's pid namespace
  int ipc_namespace_fd = -1;
  int uts_namespace_fd = -1;
  int user_namespace_fd = -1;
  int time_namespace_fd = -1;
  std::vector<unsigned> cpus;               // exec: of the guest, that it may use; none: as the container
  std::array<int, 3> stdio = {-1, -1, -1};  // the child's ends; -1 = /dev/null, all unused for a terminal
};

// The parent's end of the conversation.
class ControlChannel {
 public:
  struct Message {
    char kind = 0;  // 0 = end of file
    absl::Status error;
    UniqueFd fd;
    int number = -1;  // the pid of kControlSecond
  };
  ControlChannel(asio::any_io_executor executor, UniqueFd socket);
  // Cancelled after Cancel.
  Co<absl::StatusOr<Message>> Receive();
  void Cancel();
  absl::Status Send(char kind);

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
// Without a way out: an exception would go on in the copy of the agent.
[[noreturn]] void RunChild(const LaunchOptions& options, int control) noexcept;

}  // namespace kata::agent
