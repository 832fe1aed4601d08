// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/virtiofsd.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>

#include "proto/base/status.h"
#include "virtcontainers/listening_socket.h"

namespace kata::virtcontainers {
namespace {

constexpr int kSocketFd = 3;  // where virtiofsd finds its listening socket
constexpr char kThreadPoolSize[] = "--thread-pool-size=1";

// virtiofsd is two processes: one that waits, and its child in namespaces of its own, which does
// the work and would outlive it.
std::vector<UniqueFd> OpenChildren(pid_t pid) {
  std::vector<UniqueFd> out;
  auto text = ReadFile(absl::StrCat("/proc/", pid, "/task/", pid, "/children"), 4096);
  if (!text.ok()) return out;
  for (const auto& word : absl::StrSplit(*text, ' ', absl::SkipWhitespace())) {
    int child = 0;
    if (!absl::SimpleAtoi(word, &child)) continue;
    UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
    if (fd.valid()) out.push_back(std::move(fd));
  }
  return out;
}

absl::Status KillAndWait(int pidfd, pid_t pid, std::chrono::milliseconds timeout) {
  // Stopped first, so that it makes no child between the look and the kill.
  ::syscall(SYS_pidfd_send_signal, pidfd, SIGSTOP, nullptr, 0);
  std::vector<UniqueFd> children = OpenChildren(pid);
  for (const UniqueFd& child : children)
    ::syscall(SYS_pidfd_send_signal, child.get(), SIGKILL, nullptr, 0);
  ::syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
  for (const UniqueFd& child : children) {
    pollfd entry{child.get(), POLLIN, 0};
    ::poll(&entry, 1, static_cast<int>(timeout.count()));
  }
  pollfd entry{pidfd, POLLIN, 0};
  if (::poll(&entry, 1, static_cast<int>(timeout.count())) == 1) return absl::OkStatus();
  return absl::DeadlineExceededError("ending virtiofsd: it did not end after SIGKILL");
}

}  // namespace

absl::StatusOr<Virtiofsd> StartVirtiofsd(const VirtiofsdOptions& options) {
  if (::access(options.program.c_str(), X_OK) != 0) {
    return ErrnoStatus(errno, absl::StrCat("virtiofsd \"", options.program,
                                           "\" of configuration key \"virtio_fs_daemon\""));
  }
  ASSIGN_OR_RETURN(UniqueFd socket, ListenFor(options.socket_path, options.uid, options.gid));
  std::vector<std::string> words = {options.program,
                                    absl::StrCat("--fd=", kSocketFd),
                                    "-o",
                                    absl::StrCat("source=", options.directory),
                                    "-o",
                                    absl::StrCat("cache=", options.cache),
                                    "-o",
                                    "sandbox=namespace",
                                    "-o",
                                    "xattr",
                                    "-o",
                                    "log_level=warn",
                                    kThreadPoolSize};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  char* const environment[] = {nullptr};
  const pid_t shim = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return ErrnoStatus(errno, "starting virtiofsd");
  if (pid == 0) {
    // Only async-signal-safe calls from here on. A session of its own tells its orphans from the
    // shim's children.
    ::setsid();
    if (::setns(options.mount_namespace, CLONE_NEWNS) != 0) ::_exit(126);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    const int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, STDIN_FILENO);
    ::dup2(null, STDOUT_FILENO);
    if (socket.get() == kSocketFd) {
      ::fcntl(kSocketFd, F_SETFD, 0);
    } else {
      ::dup2(socket.get(), kSocketFd);
    }
    ::syscall(SYS_close_range, kSocketFd + 1, ~0u, 0);
    ::signal(SIGPIPE, SIG_DFL);
    // A shim that is killed before the pid file is there leaves nothing that `delete` could find.
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != shim) ::_exit(126);
    ::execve(argv[0], argv.data(), environment);
    ::_exit(127);
  }
  Virtiofsd daemon;
  daemon.pid = pid;
  daemon.pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (absl::Status status = WriteFileAtomically(options.pid_file, std::to_string(pid), 0600);
      !status.ok()) {
    StopVirtiofsd(daemon, std::chrono::seconds(1)).IgnoreError();
    return status;
  }
  return daemon;
}

absl::Status StopVirtiofsd(Virtiofsd& daemon, std::chrono::milliseconds timeout) {
  if (daemon.pid == 0) return absl::OkStatus();
  RETURN_IF_ERROR(KillAndWait(daemon.pidfd.get(), daemon.pid, timeout));
  ::waitpid(daemon.pid, nullptr, 0);
  daemon.pid = 0;
  daemon.pidfd.reset();
  return absl::OkStatus();
}

absl::Status CleanUpVirtiofsd(const std::string& pid_file, std::chrono::milliseconds timeout) {
  auto text = ReadFile(pid_file, 64);
  int pid = 0;
  if (!text.ok() || !absl::SimpleAtoi(*text, &pid) || pid <= 1) return absl::OkStatus();
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  // The pid may be another process's by now: ours names the sandbox's directory on its command
  // line.
  auto command = ReadFile(absl::StrCat("/proc/", pid, "/cmdline"), 64u << 10);
  const std::string sandbox = pid_file.substr(0, pid_file.rfind('/'));
  const std::string id = sandbox.substr(sandbox.rfind('/') + 1);
  if (!pidfd.valid() || !command.ok() ||
      !absl::StrContains(*command, absl::StrCat("/shared/", id, "/ro"))) {
    return absl::OkStatus();
  }
  return KillAndWait(pidfd.get(), pid, timeout);
}

}  // namespace kata::virtcontainers
