// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/agent_client/vsock_daemon.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "proto/base/process.h"
#include "proto/base/status.h"
#include "virtcontainers/agent_client/listening_socket.h"

namespace kata::virtcontainers {
namespace {

// The address of a guest is known to its own daemon only, so all have the same.
constexpr char kCidWord[] = "--guest-cid=3";
constexpr std::chrono::milliseconds kSocketPoll{5};
constexpr int kSocketTries = 2000;
constexpr std::chrono::seconds kUndoTimeout{1};

absl::Status MakeDirectory(const VsockDaemonOptions& options) {
  const std::string& path = options.directory;
  if ((::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) || ::chown(path.c_str(), options.uid, options.gid) != 0) {
    return ErrnoStatus(errno, absl::StrCat("making \"", path, "\""));
  }
  return absl::OkStatus();
}

// In the child. Raw calls: those of libc want to reach other threads.
const char* BecomeUser(const char* directory, uid_t uid, gid_t gid) {
  if (::chdir(directory) != 0) return "entering its directory";
  const bool is_done =
      ::syscall(SYS_setgroups, 0, nullptr) == 0 && ::syscall(SYS_setgid, gid) == 0 && ::syscall(SYS_setuid, uid) == 0;
  return is_done ? nullptr : "becoming the machine's user";
}

// Both sockets: the second that it makes listens from the moment that it is there, but for an instant that is shorter
// than the start of a machine.
absl::Status WaitForSockets(const VsockDaemonOptions& options, const VsockDaemon& daemon) {
  const std::string machine = absl::StrCat(options.directory, "/", kVsockMachineSocket);
  const std::string host = absl::StrCat(options.directory, "/", kVsockHostSocket);
  for (int i = 0; i < kSocketTries; ++i) {
    if (::access(machine.c_str(), F_OK) == 0 && ::access(host.c_str(), F_OK) == 0) return absl::OkStatus();
    if (HasEnded(daemon.process.pidfd.get(), kSocketPoll)) {
      return absl::UnavailableError(absl::StrCat("starting \"", options.program, "\": it ended at once"));
    }
  }
  return absl::DeadlineExceededError(absl::StrCat("starting \"", options.program, "\": it makes no sockets"));
}

}  // namespace

absl::StatusOr<VsockDaemon> StartVsockDaemon(const VsockDaemonOptions& options) {
  if (::access(options.program.c_str(), X_OK) != 0) {
    return ErrnoStatus(errno, absl::StrCat("vhost-device-vsock \"", options.program,
                                           "\" of configuration key \"vhost_user_vsock_daemon\""));
  }
  RETURN_IF_ERROR(MakeDirectory(options));
  // Relative to its working directory: the path of a socket has a limit that a sandbox's directory may exceed.
  ChildOptions child;
  child.name = "vhost-device-vsock";
  child.words = {options.program, kCidWord, absl::StrCat("--socket=", kVsockMachineSocket),
                 absl::StrCat("--uds-path=", kVsockHostSocket)};
  ASSIGN_OR_RETURN(OutputPipe output, MakeOutputPipe());
  child.output = output.write.get();
  child.leads_session = true;
  child.dies_with_parent = true;
  child.prepare = [directory = options.directory.c_str(), uid = options.uid, gid = options.gid] {
    return BecomeUser(directory, uid, gid);
  };
  // The daemon's name for it. Before the daemon runs: nobody else can reach the directory yet.
  const std::string ready_path = absl::StrCat(options.directory, "/", kVsockHostSocket, "_", options.ready_port);
  ASSIGN_OR_RETURN(UniqueFd listening, ListenFor(ready_path, options.uid, options.gid));
  VsockDaemon daemon;
  ASSIGN_OR_RETURN(daemon.process, StartChild(child));
  daemon.output = std::move(output.read);
  daemon.ready = std::move(listening);
  absl::Status ready = WaitForSockets(options, daemon);
  if (ready.ok()) return daemon;
  StopVsockDaemon(daemon, kUndoTimeout).IgnoreError();
  return ready;
}

absl::Status StopVsockDaemon(VsockDaemon& daemon, std::chrono::milliseconds timeout) {
  RETURN_IF_ERROR(EndChild(daemon.process, "vhost-device-vsock", timeout));
  daemon.ready.reset();
  return absl::OkStatus();
}

}  // namespace kata::virtcontainers
