// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/vsock_daemon.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "proto/base/status.h"
#include "virtcontainers/listening_socket.h"

namespace kata::virtcontainers {
namespace {

// The address of a guest is known to its own daemon only, so all have the same.
constexpr char kCidWord[] = "--guest-cid=3";
constexpr std::chrono::milliseconds kSocketPoll{5};
constexpr int kSocketTries = 2000;
constexpr std::chrono::seconds kUndoTimeout{1};

bool HasEnded(const UniqueFd& pidfd, std::chrono::milliseconds wait) {
  pollfd entry{pidfd.get(), POLLIN, 0};
  return ::poll(&entry, 1, static_cast<int>(wait.count())) == 1;
}

absl::Status MakeDirectory(const VsockDaemonOptions& options) {
  const std::string& path = options.directory;
  if ((::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) ||
      ::chown(path.c_str(), options.uid, options.gid) != 0) {
    return ErrnoStatus(errno, absl::StrCat("making \"", path, "\""));
  }
  return absl::OkStatus();
}

// After fork: only async-signal-safe calls.
[[noreturn]] void Become(const VsockDaemonOptions& options, char* const* argv, pid_t shim) {
  ::setsid();
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  const int null = ::open("/dev/null", O_RDWR);
  ::dup2(null, STDIN_FILENO);
  ::dup2(null, STDOUT_FILENO);
  ::syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, 0);
  // Raw calls: those of libc want to reach other threads.
  const bool is_unprivileged = ::chdir(options.directory.c_str()) == 0 &&
                               ::syscall(SYS_setgroups, 0, nullptr) == 0 &&
                               ::syscall(SYS_setgid, options.gid) == 0 && ::syscall(SYS_setuid, options.uid) == 0;
  // After the change of user, which would clear it.
  if (!is_unprivileged || ::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != shim) ::_exit(126);
  char* const environment[] = {nullptr};
  ::execve(argv[0], argv, environment);
  ::_exit(127);
}

// Both sockets: the second that it makes listens from the moment that it is there, but for an instant that is shorter
// than the start of a machine.
absl::Status WaitForSockets(const VsockDaemonOptions& options, const VsockDaemon& daemon) {
  const std::string machine = absl::StrCat(options.directory, "/", kVsockMachineSocket);
  const std::string host = absl::StrCat(options.directory, "/", kVsockHostSocket);
  for (int i = 0; i < kSocketTries; ++i) {
    if (::access(machine.c_str(), F_OK) == 0 && ::access(host.c_str(), F_OK) == 0) return absl::OkStatus();
    if (HasEnded(daemon.pidfd, kSocketPoll)) {
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
  std::string words[] = {options.program, kCidWord, absl::StrCat("--socket=", kVsockMachineSocket),
                         absl::StrCat("--uds-path=", kVsockHostSocket)};
  char* const argv[] = {words[0].data(), words[1].data(), words[2].data(), words[3].data(), nullptr};
  // The daemon's name for it. Before the daemon runs: nobody else can reach the directory yet.
  const std::string ready_path =
      absl::StrCat(options.directory, "/", kVsockHostSocket, "_", options.ready_port);
  ASSIGN_OR_RETURN(UniqueFd listening, ListenFor(ready_path, options.uid, options.gid));
  const pid_t shim = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return ErrnoStatus(errno, "starting vhost-device-vsock");
  if (pid == 0) Become(options, argv, shim);
  VsockDaemon daemon;
  daemon.ready = std::move(listening);
  daemon.pid = pid;
  daemon.pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  absl::Status ready = WaitForSockets(options, daemon);
  if (ready.ok()) return daemon;
  StopVsockDaemon(daemon, kUndoTimeout).IgnoreError();
  return ready;
}

absl::Status StopVsockDaemon(VsockDaemon& daemon, std::chrono::milliseconds timeout) {
  if (daemon.pid == 0) return absl::OkStatus();
  ::syscall(SYS_pidfd_send_signal, daemon.pidfd.get(), SIGKILL, nullptr, 0);
  if (!HasEnded(daemon.pidfd, timeout)) {
    return absl::DeadlineExceededError("ending vhost-device-vsock: it did not end after SIGKILL");
  }
  ::waitpid(daemon.pid, nullptr, 0);
  daemon.pid = 0;
  daemon.pidfd.reset();
  daemon.ready.reset();
  return absl::OkStatus();
}

}  // namespace kata::virtcontainers
