// SPDX-License-Identifier: Apache-2.0
#include "proto/base/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include <absl/strings/str_cat.h>

#include "proto/base/process.h"
#include "proto/base/status.h"

namespace kata {
namespace {

constexpr std::chrono::seconds kExecTimeout{10};
constexpr int kFirstGiven = 3;
constexpr int kNotStarted = 127;

// What the child says when it cannot go on; the text is a literal, at the same address in both processes.
struct Failure {
  int error = 0;
  const char* step = nullptr;
};

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));  // execve does not write
  out.push_back(nullptr);
  return out;
}

void ResetSignals() {
  for (int signal = 1; signal <= SIGRTMAX; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// The descriptors at 3, 4, … and `control` after them, to be closed by the execve; its new number.
int PlaceDescriptors(std::vector<int>& descriptors, int input, int output, int control) {
  const int null = ::open("/dev/null", O_RDWR);
  ::dup2(input >= 0 ? input : null, STDIN_FILENO);
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) ::dup2(output >= 0 ? output : null, fd);
  const int end = kFirstGiven + static_cast<int>(descriptors.size());
  // Out of the way of the numbers that are given, first.
  const int free = end + 1;
  control = ::fcntl(control, F_DUPFD, free);
  for (int& descriptor : descriptors) descriptor = ::fcntl(descriptor, F_DUPFD, free);
  for (int i = kFirstGiven; i < end; ++i) ::dup2(descriptors[i - kFirstGiven], i);
  ::dup3(control, end, O_CLOEXEC);
  ::syscall(SYS_close_range, free, ~0u, 0);
  return end;
}

}  // namespace

absl::StatusOr<OutputPipe> MakeOutputPipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, "making a pipe");
  OutputPipe out;
  out.read.reset(ends[0]);
  out.write.reset(ends[1]);
  ::fcntl(out.read.get(), F_SETFL, O_NONBLOCK);
  return out;
}

absl::StatusOr<ChildProcess> StartChild(const ChildOptions& options,
                                        const std::function<absl::Status(pid_t)>& on_made) {
  const std::string& program = options.program.empty() ? options.words[0] : options.program;
  const std::string what = absl::StrCat("starting ", options.name, " \"", program, "\"");
  const std::vector<char*> argv = Pointers(options.words);
  const std::vector<char*> environment = Pointers(options.environment);
  std::vector<int> descriptors = options.descriptors;
  // Parent to child: go on. Child to parent: a Failure; end of file says that the program runs.
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return ErrnoStatus(errno, what);
  const UniqueFd control(ends[0]);
  UniqueFd childs_control(ends[1]);
  const pid_t parent = ::getpid();
  ChildProcess child;
  child.pid = ::fork();
  if (child.pid < 0) return ErrnoStatus(errno, what);
  if (child.pid == 0) {
    // Async-signal-safe calls only from here on: the process may have had other threads.
    if (options.leads_session) {
      ::setsid();
    } else {
      ::setpgid(0, 0);
    }
    ResetSignals();
    Failure said;
    said.step = options.prepare ? options.prepare() : nullptr;
    if (said.step == nullptr && !options.directory.empty() && ::chdir(options.directory.c_str()) != 0)
      said.step = "entering its directory";
    const int prepare_error = errno;
    const int report = PlaceDescriptors(descriptors, options.input, options.output, childs_control.get());
    errno = prepare_error;
    // After a change of user, which clears it.
    if (said.step == nullptr && options.dies_with_parent) {
      if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) said.step = "tying it to its parent";
      if (::getppid() != parent) ::_exit(kNotStarted);
    }
    char go = 0;
    if (said.step == nullptr) {
      // Nobody may know of it, or its parent has ended.
      if (::read(report, &go, sizeof(go)) != sizeof(go)) ::_exit(kNotStarted);
      ::execve(program.c_str(), argv.data(), environment.data());
    }
    const bool is_unasked = said.step != nullptr;
    said.error = errno;
    bool is_done = ::write(report, &said, sizeof(said)) == sizeof(said);
    // What is unread when it ends would take the report away.
    if (is_unasked) is_done = ::read(report, &go, sizeof(go)) >= 0 && is_done;
    ::_exit(is_done ? kNotStarted : kNotStarted + 1);
  }
  childs_control.reset();
  // Nobody else waits for it, so the pid is its own still.
  child.pidfd = OpenProcess(child.pid);
  absl::Status status = child.pidfd.valid() ? absl::OkStatus() : ErrnoStatus(errno, what);
  if (status.ok() && on_made) status = on_made(child.pid);
  if (status.ok()) {
    Failure said;
    const char go = 1;
    // A child that could not be prepared has said so and is gone.
    static_cast<void>(::send(control.get(), &go, sizeof(go), MSG_NOSIGNAL) < 0);
    if (!IsReadable(control.get(), kExecTimeout)) {
      status = absl::DeadlineExceededError(absl::StrCat(what, ": it does not start"));
    } else if (::read(control.get(), &said, sizeof(said)) == sizeof(said)) {
      status = ErrnoStatus(said.error, said.step == nullptr ? what : absl::StrCat(what, ": ", said.step));
    }
  }
  if (status.ok()) return child;
  ::kill(child.pid, SIGKILL);
  while (::waitpid(child.pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return status;
}

absl::Status EndChild(ChildProcess& child, absl::string_view what, std::chrono::milliseconds timeout) {
  if (child.pid == 0) return absl::OkStatus();
  RETURN_IF_ERROR(KillProcess(child.pidfd.get(), what, timeout));
  while (::waitpid(child.pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  child = ChildProcess();
  return absl::OkStatus();
}

}  // namespace kata
