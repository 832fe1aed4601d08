// SPDX-License-Identifier: Apache-2.0
#include "agent/process/launcher.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include <absl/strings/numbers.h>

#include "agent/base/errors.h"
#include "agent/oci/sysctls.h"
#include "agent/process/credentials.h"

namespace kata::agent {
namespace {

uint64_t CloneFlags(const LaunchOptions& options) {
  uint64_t flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP;
  if (options.is_exec) return flags;
  const Namespaces& wanted = options.container->namespaces;
  flags |= CLONE_NEWNS;
  if (wanted.has_user && options.user_namespace_fd < 0) flags |= CLONE_NEWUSER;
  if (wanted.has_pid && options.pid_namespace_fd < 0) flags |= CLONE_NEWPID;
  if (wanted.has_ipc && options.ipc_namespace_fd < 0) flags |= CLONE_NEWIPC;
  if (wanted.has_uts && options.uts_namespace_fd < 0) flags |= CLONE_NEWUTS;
  return flags;
}

// Of an init that joins another's: the namespace that children are born into, changed for one clone and put back.
class ChildPidNamespace {
 public:
  explicit ChildPidNamespace(int fd) {
    if (fd < 0) return;
    own_.reset(::open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
    if (!own_.valid() || ::setns(fd, CLONE_NEWPID) != 0) error_ = errno;
  }
  ~ChildPidNamespace() {
    if (own_.valid()) ::setns(own_.get(), CLONE_NEWPID);
  }
  ChildPidNamespace(const ChildPidNamespace&) = delete;
  ChildPidNamespace& operator=(const ChildPidNamespace&) = delete;
  int error() const { return error_; }

 private:
  UniqueFd own_;
  int error_ = 0;
};

bool HasEnded(int pidfd) {
  pollfd ended{.fd = pidfd, .events = POLLIN, .revents = 0};
  return ::poll(&ended, 1, 0) == 1;
}

// What the agent's root does for a child that waits for kControlBegin.
absl::Status PrepareChild(pid_t pid, int pidfd, const LaunchOptions& options) {
  const ContainerSpec& container = *options.container;
  RETURN_IF_ERROR(SetOomScore(pid, *options.process));
  if (options.is_exec || !container.namespaces.has_user) return absl::OkStatus();
  if (options.user_namespace_fd < 0)
    RETURN_IF_ERROR(WriteMappings(pid, container.uid_mappings, container.gid_mappings));
  const uid_t root = MapId(container.uid_mappings, 0).value_or(0);
  return WriteSysctlsFor(pidfd, container.sysctls, root);
}

// In the process between. Negative: an errno.
long CloneInUserNamespace(const LaunchOptions& options, clone_args args, int control) noexcept {
  // Its copy must be closed to those who see it in their namespace from its birth.
  const bool is_inside = prctl(PR_SET_DUMPABLE, 0) == 0 &&
                         (options.pid_namespace_fd < 0 || ::setns(options.pid_namespace_fd, CLONE_NEWPID) == 0) &&
                         ::setns(options.user_namespace_fd, CLONE_NEWUSER) == 0;
  if (!is_inside) return -errno;
  args.flags &= ~static_cast<__u64>(CLONE_PIDFD);
  args.flags |= CLONE_PARENT;
  args.pidfd = 0;
  args.exit_signal = 0;  // that of the process between
  const long result = ::syscall(SYS_clone3, &args, sizeof(args));
  if (result == 0) RunChild(options, control);
  return result < 0 ? -errno : result;
}

// A container that joins a user namespace: its other namespaces must belong to that one, so they are
// made from within it, by a process between that ends at once. The container's process is the
// agent's child all the same.
long CloneWithin(const LaunchOptions& options, const clone_args& args, int control) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return -1;
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  clone_args between{};
  between.flags = CLONE_CLEAR_SIGHAND;
  between.exit_signal = SIGCHLD;
  const long middle = ::syscall(SYS_clone3, &between, sizeof(between));
  if (middle < 0) return -1;
  if (middle == 0) {
    const long result = CloneInUserNamespace(options, args, control);
    static_cast<void>(::write(writer.get(), &result, sizeof(result)) < 0);
    ::_exit(0);
  }
  writer.reset();
  long result = -EIO;
  ssize_t n = 0;
  do {
    n = ::read(reader.get(), &result, sizeof(result));
  } while (n < 0 && errno == EINTR);
  if (n == sizeof(result) && result > 0) return result;
  errno = n == sizeof(result) ? static_cast<int>(-result) : EIO;
  return -1;
}

ControlChannel::Message Decode(absl::string_view bytes, UniqueFd fd) {
  ControlChannel::Message message;
  if (bytes.empty()) return message;
  message.kind = bytes[0];
  message.fd = std::move(fd);
  if (message.kind == kControlSecond && !absl::SimpleAtoi(bytes.substr(1), &message.number)) message.number = -1;
  if (message.kind != kControlError) return message;
  const int code = bytes.size() > 1 ? static_cast<unsigned char>(bytes[1]) : 0;
  message.error = absl::Status(static_cast<absl::StatusCode>(code == 0 ? 13 : code), bytes.substr(2));
  return message;
}

}  // namespace

ControlChannel::ControlChannel(asio::any_io_executor executor, UniqueFd socket)
    : socket_(std::move(executor), socket.release()) {
  boost::system::error_code ignored;
  socket_.non_blocking(true, ignored);
}

Co<absl::StatusOr<ControlChannel::Message>> ControlChannel::Receive() {
  for (;;) {
    char bytes[kControlMessageMax];
    alignas(cmsghdr) char ancillary[CMSG_SPACE(sizeof(int))];
    iovec iov{.iov_base = bytes, .iov_len = sizeof(bytes)};
    msghdr header{};
    header.msg_iov = &iov;
    header.msg_iovlen = 1;
    header.msg_control = ancillary;
    header.msg_controllen = sizeof(ancillary);
    ssize_t n = ::recvmsg(socket_.native_handle(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n >= 0) {
      UniqueFd fd;
      cmsghdr* control = CMSG_FIRSTHDR(&header);
      if (control != nullptr && control->cmsg_type == SCM_RIGHTS) {
        int received = -1;
        __builtin_memcpy(&received, CMSG_DATA(control), sizeof(received));
        fd.reset(received);
      }
      co_return Decode(absl::string_view(bytes, static_cast<size_t>(n)), std::move(fd));
    }
    // A killed child may leave a start message unread, which resets the pair.
    if (errno == ECONNRESET) co_return Message{};
    if (errno != EAGAIN && errno != EINTR) co_return SystemError(errno, "reading from the new process");
    auto [ec] = co_await socket_.async_wait(asio::posix::stream_descriptor::wait_read, kTuple);
    if (ec) co_return FromErrorCode(ec, "waiting for the new process");
  }
}

void ControlChannel::Cancel() {
  boost::system::error_code ignored;
  socket_.cancel(ignored);
}

absl::Status ControlChannel::Send(char kind) {
  if (::send(socket_.native_handle(), &kind, 1, MSG_NOSIGNAL) != 1) {
    return absl::FailedPreconditionError("starting the process: it is gone");
  }
  return absl::OkStatus();
}

absl::StatusOr<Launched> Launch(asio::any_io_executor executor, const LaunchOptions& options) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return SystemError(errno, "making a socket pair");
  UniqueFd ours(pair[0]);
  UniqueFd theirs(pair[1]);
  const bool joins_user = !options.is_exec && options.user_namespace_fd >= 0;
  ChildPidNamespace born_in(options.is_exec || joins_user ? -1 : options.pid_namespace_fd);
  if (born_in.error() != 0) return SystemError(born_in.error(), "joining the pid namespace");
  int pidfd = -1;
  clone_args args{};
  args.flags = CloneFlags(options);
  args.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  args.cgroup = static_cast<__u64>(options.cgroup_fd);
  const long pid = joins_user ? CloneWithin(options, args, theirs.get()) : ::syscall(SYS_clone3, &args, sizeof(args));
  if (pid < 0) return SystemError(errno, "cloning the process");
  if (pid == 0) RunChild(options, theirs.get());
  if (joins_user) pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  Launched out;
  out.pid = static_cast<pid_t>(pid);
  out.pidfd.reset(pidfd);
  if (pidfd < 0) return SystemError(errno, "opening the new process");
  const absl::Status prepared = PrepareChild(out.pid, pidfd, options);
  if (!prepared.ok() && !HasEnded(pidfd)) {
    ::syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
    return prepared;
  }
  // One that has ended already hangs up, and its end says why.
  static_cast<void>(::send(ours.get(), &kControlBegin, 1, MSG_NOSIGNAL) < 0);
  out.control = std::make_unique<ControlChannel>(std::move(executor), std::move(ours));
  return out;
}

}  // namespace kata::agent
