// SPDX-License-Identifier: Apache-2.0
// The child between clone3 and execve. It is single-threaded, never returns, and reports over the
// control socket.
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <exception>
#include <optional>

#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>

#include "agent/base/errors.h"
#include "agent/pause/pause.h"
#include "agent/process/credentials.h"
#include "agent/process/launcher.h"
#include "agent/process/lookup.h"
#include "agent/rootfs/rootfs.h"
#include "agent/stdio/terminal.h"
#include "proto/base/run_hook.h"
#include "proto/base/status.h"

namespace kata::agent {
namespace {

// Where a program is looked for without a PATH; it gets none.
constexpr char kDefaultPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr size_t kPasswdSizeMax = 1u << 20;
constexpr int kExitSetupFailed = 127;
// The kernel's headers for programs lack them.
constexpr unsigned kKeyPossessorAll = 0x3f000000;
constexpr unsigned kKeyUserView = 0x00010000;
constexpr unsigned kKeyUserRead = 0x00020000;
constexpr unsigned kKeyUserSearch = 0x00080000;
constexpr unsigned kKeyUserLink = 0x00100000;

void ResetSignals() {
  // CLONE_CLEAR_SIGHAND keeps ignored signals ignored, and the mask is inherited.
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Nothing of the agent's may be reachable through /proc/self/fd, not even before execve closes it.
void CloseAllBut(std::vector<int> kept) {
  std::sort(kept.begin(), kept.end());
  unsigned from = 3;
  for (int fd : kept) {
    if (fd < 3) continue;
    const unsigned number = static_cast<unsigned>(fd);
    if (number > from) ::syscall(SYS_close_range, from, number - 1, 0);
    from = number + 1;
  }
  ::syscall(SYS_close_range, from, ~0u, 0);
}

absl::Status EnterCgroup(int procs_fd) {
  if (procs_fd >= 0 && ::write(procs_fd, "0", 1) != 1) return SystemError(errno, "entering the cgroup");
  return absl::OkStatus();
}

absl::Status Join(int fd, int type, const char* what) {
  if (fd >= 0 && ::setns(fd, type) != 0) return SystemError(errno, absl::StrCat("joining the ", what, " namespace"));
  return absl::OkStatus();
}

absl::Status EnterNamespaces(const LaunchOptions& options) {
  const Namespaces& names = options.container->namespaces;
  if (options.is_exec) {
    int types = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    if (names.has_user) types |= CLONE_NEWUSER;
    if (names.has_time) types |= CLONE_NEWTIME;
    // It may be the guest's, which nobody in a user namespace may join; of the second process only.
    RETURN_IF_ERROR(Join(options.pid_namespace_fd, CLONE_NEWPID, "pid"));
    RETURN_IF_ERROR(Join(options.init_pidfd, types, "container's"));
    return names.has_user ? BecomeNamespaceRoot() : absl::OkStatus();
  }
  RETURN_IF_ERROR(Join(options.time_namespace_fd, CLONE_NEWTIME, "time"));
  if (names.has_time && options.time_namespace_fd < 0)
    RETURN_IF_ERROR(EnterTimeNamespace(options.container->time_offsets));
  RETURN_IF_ERROR(Join(options.ipc_namespace_fd, CLONE_NEWIPC, "ipc"));
  RETURN_IF_ERROR(Join(options.uts_namespace_fd, CLONE_NEWUTS, "uts"));
  if (::unshare(CLONE_NEWCGROUP) != 0) return SystemError(errno, "making the cgroup namespace");
  // The namespace's root is the cgroup that it was made in, whatever its maker moves to.
  RETURN_IF_ERROR(EnterCgroup(options.set_up_procs_fd));
  return names.has_user ? BecomeNamespaceRoot() : absl::OkStatus();
}

// As runc: keys of a container are its own, and its execs find them. Others may join by name only
// what they may search. Names are known within a user namespace, to those whose ids it has.
absl::Status JoinSessionKeyring(const LaunchOptions& options) {
  const std::string name = absl::StrCat("_ses.", options.container_id);
  const long ring = ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.c_str());
  if (ring < 0 && errno == ENOSYS) return absl::OkStatus();
  if (ring < 0) return SystemError(errno, "joining the session keyring");
  if (options.is_exec) return absl::OkStatus();
  constexpr unsigned kPermissions = kKeyPossessorAll | kKeyUserView | kKeyUserRead | kKeyUserLink | kKeyUserSearch;
  if (::syscall(SYS_keyctl, KEYCTL_SETPERM, ring, kPermissions) != 0)
    return SystemError(errno, "opening the session keyring");
  return absl::OkStatus();
}

absl::Status SetNames(const ContainerSpec& spec) {
  if (!spec.namespaces.has_uts || !spec.namespaces.uts_path.empty()) return absl::OkStatus();
  if (!spec.hostname.empty() && ::sethostname(spec.hostname.data(), spec.hostname.size()) != 0) {
    return SystemError(errno, "setting the hostname");
  }
  if (!spec.domainname.empty() && ::setdomainname(spec.domainname.data(), spec.domainname.size()) != 0) {
    return SystemError(errno, "setting the domain name");
  }
  return absl::OkStatus();
}

absl::Status SendWithFd(int control, std::string text, int fd, const char* what) {
  iovec iov{.iov_base = text.data(), .iov_len = text.size()};
  alignas(cmsghdr) char ancillary[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &iov;
  header.msg_iovlen = 1;
  header.msg_control = ancillary;
  header.msg_controllen = sizeof(ancillary);
  cmsghdr* message = CMSG_FIRSTHDR(&header);
  message->cmsg_level = SOL_SOCKET;
  message->cmsg_type = SCM_RIGHTS;
  message->cmsg_len = CMSG_LEN(sizeof(int));
  __builtin_memcpy(CMSG_DATA(message), &fd, sizeof(fd));
  if (::sendmsg(control, &header, MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
    return SystemError(errno, absl::StrCat("handing over ", what));
  return absl::OkStatus();
}

absl::Status SendFilter(int control, const SeccompProgram& program) {
  UniqueFd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!file.valid()) return SystemError(errno, "making a file for the seccomp filter");
  RETURN_IF_ERROR(WriteAll(file.get(), program.Bytes()));
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return SystemError(errno, "rewinding the seccomp filter");
  return SendWithFd(control, std::string(1, kControlFilter), file.get(), "the seccomp filter");
}

absl::Status SetUpTerminal(const LaunchOptions& options, int control) {
  const ProcessSpec& spec = *options.process;
  ASSIGN_OR_RETURN(Terminal terminal, OpenTerminal(spec.console_width, spec.console_height));
  if (!options.is_exec) RETURN_IF_ERROR(BindConsole(terminal.slave_path));
  RETURN_IF_ERROR(SendWithFd(control, std::string(1, kControlTerminal), terminal.master.get(), "the terminal"));
  if (::fchown(terminal.slave.get(), spec.uid, static_cast<gid_t>(-1)) != 0) {
    return SystemError(errno, "changing the terminal's owner");
  }
  for (int fd = 0; fd < 3; ++fd) {
    if (::dup2(terminal.slave.get(), fd) < 0) return SystemError(errno, "placing the terminal");
  }
  return absl::OkStatus();
}

// Of the process that becomes the program; a terminal is its standard input by now.
absl::Status LeadSession(const ProcessSpec& spec) {
  if (::setsid() < 0) return SystemError(errno, "making a session");
  if (spec.terminal && ::ioctl(STDIN_FILENO, TIOCSCTTY, 0) != 0) return SystemError(errno, "taking the terminal");
  return absl::OkStatus();
}

absl::Status SetUpPipes(const LaunchOptions& options) {
  for (int fd = 0; fd < 3; ++fd) {
    int source = options.stdio[static_cast<size_t>(fd)];
    UniqueFd null;
    if (source < 0) {
      null.reset(::open("/dev/null", O_RDWR | O_CLOEXEC));
      if (!null.valid()) return SystemError(errno, "opening \"/dev/null\"");
      source = null.get();
    } else if (!options.container->namespaces.has_user &&
               ::fchown(source, options.process->uid, static_cast<gid_t>(-1)) != 0) {
      // The user must be able to reopen its streams through /dev/stdout. A namespace's root may not
      // give them away: the agent has.
      return SystemError(errno, "changing a stream's owner");
    }
    if (::dup2(source, fd) < 0) return SystemError(errno, "placing a stream");
  }
  return absl::OkStatus();
}

absl::Status EnterDirectory(const std::string& cwd) {
  if (::chdir(cwd.c_str()) != 0) return SystemError(errno, absl::StrCat("entering cwd \"", cwd, "\""));
  char buffer[4096];
  // The system call itself: a directory outside of the root is reported as "(unreachable)…".
  long n = ::syscall(SYS_getcwd, buffer, sizeof(buffer));
  if (n > 0 && buffer[0] != '/') {
    return absl::InvalidArgumentError(absl::StrCat("entering cwd \"", cwd, "\": outside of the container"));
  }
  return absl::OkStatus();
}

void MakeDirectory(const std::string& cwd, const ProcessSpec& spec) {
  struct stat info {};
  if (::stat(cwd.c_str(), &info) == 0 || errno != ENOENT) return;
  // A failure shows when the directory is entered.
  if (MakeDirs(cwd, 0755).ok()) static_cast<void>(::chown(cwd.c_str(), spec.uid, spec.gid) == 0);
}

std::string HomeOf(uid_t uid) {
  auto passwd = ReadFile("/etc/passwd", kPasswdSizeMax);
  if (!passwd.ok()) return "/";
  for (absl::string_view line : absl::StrSplit(*passwd, '\n')) {
    std::vector<absl::string_view> fields = absl::StrSplit(line, ':');
    unsigned value = 0;
    if (fields.size() > 5 && absl::SimpleAtoi(fields[2], &value) && value == uid) return std::string(fields[5]);
  }
  return "/";
}

std::vector<std::string> Environment(const ProcessSpec& spec) {
  std::vector<std::string> env = DistinctEnvironment(spec.env);
  if (EnvironmentValue(env, "HOME").empty()) SetEnvironmentValue(env, "HOME", HomeOf(spec.uid));
  return env;
}

// 0 at the end of file.
char ReadKind(int fd) {
  char kind = 0;
  ssize_t n = 0;
  do {
    n = ::read(fd, &kind, 1);
  } while (n < 0 && errno == EINTR);
  return n == 1 ? kind : '\0';
}

absl::Status WaitForStart(int control) {
  if (::send(control, &kControlReady, 1, MSG_NOSIGNAL) != 1) return SystemError(errno, "reporting ready");
  if (ReadKind(control) != kControlStart) ::_exit(kExitSetupFailed);
  return absl::OkStatus();
}

// Returns in the second process only, once PID 1 knows it.
absl::Status ContinueInPidNamespace(int control) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return SystemError(errno, "making a pipe");
  UniqueFd first_is_gone(ends[0]);
  UniqueFd held(ends[1]);
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_PIDFD;
  args.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  const long pid = ::syscall(SYS_clone3, &args, sizeof(args));
  if (pid < 0) return SystemError(errno, "cloning the process into the container");
  if (pid == 0) {
    held.reset();
    ReadKind(first_is_gone.get());
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(SendWithFd(control, absl::StrCat(std::string(1, kControlSecond), pid), pidfd, "the process"));
  // It is not reaped here: a process that has ended already is the agent's to reap as well.
  ::_exit(ReadKind(control) == kControlKnown ? 0 : kExitSetupFailed);
}

absl::Status BuildContainer(const ContainerSpec& spec) {
  RETURN_IF_ERROR(SetNames(spec));
  return EnterRootfs(spec);
}

absl::Status Execute(const std::string& program, const ProcessSpec& spec, const std::vector<std::string>& env) {
  std::vector<char*> argv;
  std::vector<char*> envp;
  for (const std::string& arg : spec.args) argv.push_back(const_cast<char*>(arg.c_str()));
  for (const std::string& item : env) envp.push_back(const_cast<char*>(item.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  ::execve(program.c_str(), argv.data(), envp.data());
  return absl::InvalidArgumentError(ErrnoStatus(errno, absl::StrCat("exec: \"", spec.args[0], "\"")).message());
}

absl::StatusOr<std::string> EnterProgramsPlace(const ProcessSpec& spec, const std::vector<std::string>& env) {
  const absl::Status entered_as_root = EnterDirectory(spec.cwd);
  RETURN_IF_ERROR(DropToUser(spec));
  // A directory may be open to root only or to the user only (a share that squashes root).
  if (absl::Status entered = EnterDirectory(spec.cwd); !entered.ok() && !entered_as_root.ok()) return entered;
  const std::string path = EnvironmentValue(env, "PATH");
  return FindProgram(spec.args[0], path.empty() ? kDefaultPath : path);
}

absl::Status ForbidNewPrivileges(const ProcessSpec& spec) {
  if (spec.no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return SystemError(errno, "setting no_new_privs");
  return absl::OkStatus();
}

absl::Status SetPersonality(const ContainerSpec& spec) {
  if (spec.personality && ::personality(*spec.personality) < 0) return SystemError(errno, "setting linux.personality");
  return absl::OkStatus();
}

// Without no_new_privs only CAP_SYS_ADMIN may load a filter; with it the filter comes as late as
// possible.
absl::Status Confine(const ProcessSpec& spec, const SeccompProgram* filter) {
  if (filter != nullptr && !spec.no_new_privileges) RETURN_IF_ERROR(filter->Load());
  RETURN_IF_ERROR(ApplyCapabilities(spec));
  if (filter != nullptr && spec.no_new_privileges) RETURN_IF_ERROR(filter->Load());
  return absl::OkStatus();
}

// Their programs are the image's: they may do what the container may.
absl::Status RunStartHooks(const ContainerSpec& container, const std::vector<std::string>& env) {
  if (container.start_hooks.empty()) return absl::OkStatus();
  const std::string state = WithStatus(container.hook_state, "created", ::getpid());
  for (size_t i = 0; i < container.start_hooks.size(); ++i) {
    Hook hook = container.start_hooks[i];
    if (!hook.environment.has_value()) hook.environment = env;
    const absl::Status run = RunHook(hook, state, {container.process.cwd, -1});
    if (!run.ok()) return Annotate(run, absl::StrCat("running hooks.startContainer[", i, "]"));
  }
  return absl::OkStatus();
}

absl::Status BecomeInit(const LaunchOptions& options, int control) {
  const ProcessSpec& spec = *options.process;
  std::optional<SeccompProgram> filter;
  if (options.container->seccomp) {
    ASSIGN_OR_RETURN(filter, SeccompProgram::Compile(*options.container->seccomp));
    RETURN_IF_ERROR(SendFilter(control, *filter));
  }
  RETURN_IF_ERROR(BuildContainer(*options.container));
  RETURN_IF_ERROR(spec.terminal ? SetUpTerminal(options, control) : SetUpPipes(options));
  RETURN_IF_ERROR(LeadSession(spec));
  // As runc: a missing cwd is made for init, and is an error of an exec.
  MakeDirectory(spec.cwd, spec);
  RETURN_IF_ERROR(SealRootfs(*options.container));
  const std::vector<std::string> env = Environment(spec);
  ASSIGN_OR_RETURN(const std::string program, EnterProgramsPlace(spec, env));
  RETURN_IF_ERROR(EnterCgroup(options.final_procs_fd));
  RETURN_IF_ERROR(WaitForStart(control));
  if (options.container->is_sandbox) RETURN_IF_ERROR(BlockPauseSignals());
  RETURN_IF_ERROR(SetPersonality(*options.container));
  RETURN_IF_ERROR(ForbidNewPrivileges(spec));
  RETURN_IF_ERROR(RaisePermitted());
  RETURN_IF_ERROR(Confine(spec, filter ? &*filter : nullptr));
  RETURN_IF_ERROR(RunStartHooks(*options.container, env));
  return Execute(program, spec, env);
}

absl::Status BecomeExec(const LaunchOptions& options, int control) {
  const ProcessSpec& spec = *options.process;
  RETURN_IF_ERROR(spec.terminal ? SetUpTerminal(options, control) : SetUpPipes(options));
  const std::vector<std::string> env = Environment(spec);
  ASSIGN_OR_RETURN(const std::string program, EnterProgramsPlace(spec, env));
  RETURN_IF_ERROR(ForbidNewPrivileges(spec));
  const bool needs_admin = options.seccomp != nullptr && !spec.no_new_privileges;
  RETURN_IF_ERROR(needs_admin ? ApplyCapabilitiesAndSysAdmin(spec) : ApplyCapabilities(spec));
  RETURN_IF_ERROR(ContinueInPidNamespace(control));
  RETURN_IF_ERROR(LeadSession(spec));
  RETURN_IF_ERROR(WaitForStart(control));
  RETURN_IF_ERROR(EnterCgroup(options.final_procs_fd));
  // The cgroup has taken away what the process had.
  RETURN_IF_ERROR(SetAffinity(options.cpus));
  RETURN_IF_ERROR(SetPersonality(*options.container));
  RETURN_IF_ERROR(Confine(spec, options.seccomp));
  return Execute(program, spec, env);
}

absl::Status SetUpAndRun(const LaunchOptions& options, int control) {
  RETURN_IF_ERROR(EnterNamespaces(options));
  RETURN_IF_ERROR(JoinSessionKeyring(options));
  return options.is_exec ? BecomeExec(options, control) : BecomeInit(options, control);
}

// The agent's own event loop stands further up on this stack.
absl::Status SetUpAndRunGuarded(const LaunchOptions& options, int control) {
  try {
    return SetUpAndRun(options, control);
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat("setting up the process: ", e.what()));
  }
}

}  // namespace

void RunChild(const LaunchOptions& options, int control) noexcept {
  ResetSignals();
  CloseAllBut({control, options.init_pidfd, options.pid_namespace_fd, options.ipc_namespace_fd,
               options.uts_namespace_fd, options.time_namespace_fd, options.set_up_procs_fd, options.final_procs_fd,
               options.stdio[0], options.stdio[1], options.stdio[2]});
  // Nobody in a namespace of ours may look into this process while it has the agent's rights.
  if (prctl(PR_SET_DUMPABLE, 0) != 0) ::_exit(kExitSetupFailed);
  // Until the agent has done its part. Without it there is nobody to report to.
  if (ReadKind(control) != kControlBegin) ::_exit(kExitSetupFailed);
  absl::Status status = SetUpAndRunGuarded(options, control);
  std::string message = {kControlError, static_cast<char>(status.code())};
  message.append(std::string(status.message().substr(0, kControlMessageMax - message.size())));
  // A send(2) might be filtered by then; write(2) hardly ever is.
  static_cast<void>(::write(control, message.data(), message.size()) < 0);
  ::_exit(kExitSetupFailed);
}

}  // namespace kata::agent
