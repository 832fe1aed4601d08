// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/virtiofsd.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <linux/securebits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "virtcontainers/listening_socket.h"

namespace kata::virtcontainers {
namespace {

constexpr int kSocketFd = 3;  // where virtiofsd finds its listening socket
constexpr int kStartedFd = 4;  // closed by its execve; an error number before that says why there was none
constexpr std::chrono::seconds kExecTimeout{10};
constexpr char kThreadPoolSize[] = "--thread-pool-size=1";
constexpr rlim_t kDescriptorsWanted = 1'000'000;  // one for each file that the guest knows
constexpr rlim_t kDescriptorsLow = 100'000;

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

// As many open files as the host allows: the shim's hard limit rises where it may. What the daemon
// then has.
rlim_t RaiseDescriptorLimit() {
  rlim_t wanted = kDescriptorsWanted;
  uint64_t most = 0;
  auto text = ReadFile("/proc/sys/fs/nr_open", 64);
  if (text.ok() && absl::SimpleAtoi(*text, &most)) wanted = std::min<rlim_t>(wanted, most);
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max >= wanted) return limit.rlim_max;
  const rlimit raised{limit.rlim_cur, wanted};
  if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) return wanted;
  // Not allowed without CAP_SYS_RESOURCE.
  if (limit.rlim_max < kDescriptorsLow) {
    log::Warn(
        "virtiofsd may open {} files only, one for each file that the guest knows: the guest forgets files early to "
        "stay below it, and a pod that keeps more in use gets \"too many open files\"; raise containerd's limit "
        "(LimitNOFILE)",
        limit.rlim_max);
  }
  return limit.rlim_max;
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

// Whoever goes on may take away what the program is yet to be found in.
absl::Status WaitForExec(const UniqueFd& started, const std::string& program) {
  const std::string what = absl::StrCat("starting virtiofsd \"", program, "\"");
  pollfd entry{started.get(), POLLIN, 0};
  const int timeout = static_cast<int>(std::chrono::milliseconds(kExecTimeout).count());
  if (::poll(&entry, 1, timeout) != 1) return absl::DeadlineExceededError(absl::StrCat(what, ": it does not start"));
  int error = 0;
  const ssize_t size = ::read(started.get(), &error, sizeof(error));
  return size == sizeof(error) ? ErrnoStatus(error, what) : absl::OkStatus();
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
                                    "posix_acl",
                                    "-o",
                                    "log_level=warn",
                                    "--rlimit-nofile=0",  // as we set it
                                    kThreadPoolSize};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  char* const environment[] = {nullptr};
  const pid_t shim = ::getpid();
  const rlim_t descriptors = RaiseDescriptorLimit();
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, "starting virtiofsd");
  UniqueFd started(ends[0]);
  UniqueFd starting(ends[1]);
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
    // Out of the way of the two numbers first.
    const int listening = ::fcntl(socket.get(), F_DUPFD, kStartedFd + 1);
    const int reporting = ::fcntl(starting.get(), F_DUPFD, kStartedFd + 1);
    ::dup2(listening, kSocketFd);
    ::dup3(reporting, kStartedFd, O_CLOEXEC);
    ::syscall(SYS_close_range, kStartedFd + 1, ~0u, 0);
    ::signal(SIGPIPE, SIG_DFL);
    const rlimit limit{descriptors, descriptors};
    ::setrlimit(RLIMIT_NOFILE, &limit);
    // The daemon takes the caller's user and group to create a file, but not its supplementary
    // groups, so the kernel here would refuse what the guest's kernel has allowed by them (each
    // fsGroup volume). The guest's check is the one that counts: the daemon keeps its capabilities
    // over the change of user, and the user decides on the owner only.
    if (::prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED) != 0) {
      constexpr char kText[] = "virtiofsd: not started: setting its securebits needs CAP_SETPCAP\n";
      if (::write(STDERR_FILENO, kText, sizeof(kText) - 1) < 0) ::_exit(125);
      ::_exit(126);
    }
    // A shim that is killed before the pid file is there leaves nothing that `delete` could find.
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != shim) ::_exit(126);
    ::execve(argv[0], argv.data(), environment);
    const int error = errno;
    if (::write(kStartedFd, &error, sizeof(error)) < 0) ::_exit(126);
    ::_exit(127);
  }
  starting.reset();
  Virtiofsd daemon;
  daemon.pid = pid;
  daemon.descriptors = descriptors;
  daemon.pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  absl::Status status = WriteFileAtomically(options.pid_file, std::to_string(pid), 0600);
  if (status.ok()) status = WaitForExec(started, options.program);
  if (!status.ok()) {
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
