// SPDX-License-Identifier: Apache-2.0
#include "agent/container.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include <absl/strings/str_split.h>

#include "agent/errors.h"

namespace kata::agent {
namespace {

int64_t RealtimeNs() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

absl::Status Gone() { return absl::NotFoundError("process already finished"); }

absl::Status SendSignal(const Process& process, int number) {
  if (process.exited.is_set()) return Gone();
  if (::syscall(SYS_pidfd_send_signal, process.pidfd.get(), number, nullptr, 0) == 0)
    return absl::OkStatus();
  if (errno == ESRCH) return Gone();
  if (errno == EINVAL)
    return absl::InvalidArgumentError(absl::StrCat("signal ", number, ": not known"));
  return SystemError(errno, absl::StrCat("signalling process ", process.pid));
}

absl::StatusOr<UniqueFd> OpenNamespace(pid_t pid, const char* name) {
  const std::string path = absl::StrCat("/proc/", pid, "/ns/", name);
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return SystemError(errno, absl::StrCat("opening \"", path, "\""));
  return fd;
}

}  // namespace

// Counts one call that has a child in set-up; it stands in that call's frame.
class Container::SetUp {
 public:
  explicit SetUp(std::shared_ptr<Container> container) : container_(std::move(container)) {
    ++container_->setups_;
  }
  ~SetUp() {
    if (--container_->setups_ != 0) return;
    if (auto ended = std::exchange(container_->setups_ended_, nullptr)) ended->Set();
  }
  SetUp(const SetUp&) = delete;
  SetUp& operator=(const SetUp&) = delete;

 private:
  std::shared_ptr<Container> container_;
};

Container::Container(asio::any_io_executor executor, Collaborators collaborators, std::string id)
    : executor_(std::move(executor)),
      collaborators_(std::move(collaborators)),
      id_(std::move(id)) {}

void Container::Exited(Process& process, int exit_status) {
  process.exit_status = exit_status;
  process.exited_at_ns = RealtimeNs();
  if (oom_ != nullptr) process.oom_kills = oom_->Kills();
  process.io->ProcessExited();
  process.exited.Set();
}

absl::Status Container::RequireRunning(absl::string_view doing) const {
  const bool is_running = init_ != nullptr && is_started_ && !init_->exited.is_set() && !is_doomed_;
  if (is_running) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(doing, " container \"", id_, "\": it is not running"));
}

Co<absl::Status> Container::LaunchInto(std::shared_ptr<Process> process, LaunchOptions options,
                                       StdioWanted wanted) {
  std::array<UniqueFd, 3> child_ends;
  if (!options.process->terminal) {
    CO_RETURN_IF_ERROR(
        process->io->MakePipes(wanted.has_stdin, wanted.has_stdout, wanted.has_stderr, child_ends));
    for (size_t i = 0; i < 3; ++i) options.stdio[i] = child_ends[i].get();
  }
  absl::StatusOr<Launched> launched = Launch(executor_, options);
  if (!launched.ok()) co_return launched.status();
  process->pid = launched->pid;
  process->pidfd = std::move(launched->pidfd);
  process->control = std::move(launched->control);
  auto self = shared_from_this();
  collaborators_.exits->Register(
      process->pid, [self, process](int exit_status) { self->Exited(*process, exit_status); });
  // Our copies must go, or the pipes would never end.
  for (UniqueFd& fd : child_ends) fd.reset();
  co_return co_await AwaitReady(process, options.is_exec);
}

Co<absl::Status> Container::AwaitReady(std::shared_ptr<Process> process, bool until_executed) {
  asio::steady_timer limit(executor_);
  limit.expires_after(collaborators_.set_up_timeout);
  process->is_setting_up = true;
  limit.async_wait([process](const boost::system::error_code& ec) {
    if (ec || !process->is_setting_up) return;
    process->is_overdue = true;
    // One that waits in the kernel may not even die: the call ends all the same.
    static_cast<void>(SendSignal(*process, SIGKILL).ok());
    process->control->Cancel();
  });
  absl::Status status = co_await ReceiveReady(process, until_executed);
  process->is_setting_up = false;
  if (process->is_overdue) {
    co_return absl::DeadlineExceededError(absl::StrCat(
        "setting up the process: not done after ", collaborators_.set_up_timeout.count(), " ms"));
  }
  if (is_doomed_) {
    co_return absl::FailedPreconditionError(
        absl::StrCat("setting up the process: container \"", id_, "\" is being removed"));
  }
  co_return status;
}

Co<absl::Status> Container::ReceiveReady(std::shared_ptr<Process> process, bool until_executed) {
  for (;;) {
    absl::StatusOr<ControlChannel::Message> message = co_await process->control->Receive();
    if (!message.ok()) co_return message.status();
    if (message->kind == kControlError) co_return message->error;
    if (message->kind == kControlReady && !until_executed) co_return absl::OkStatus();
    if (message->kind == kControlTerminal && message->fd.valid()) {
      process->io->SetTerminal(std::move(message->fd));
      continue;
    }
    if (message->kind == 0 && until_executed) {
      process->control.reset();
      co_return absl::OkStatus();
    }
    co_return absl::InternalError(
        absl::StrCat("setting up the process: it ended early, status ", process->exit_status));
  }
}

Co<absl::Status> Container::Create(ContainerSpec spec, StdioWanted wanted,
                                   const SharedNamespaces* shared) {
  auto self = shared_from_this();
  spec_ = std::move(spec);
  absl::Status status = co_await CreateInit(wanted, shared);
  if (status.ok()) co_return status;
  absl::Status removed = co_await Remove();
  co_return removed.ok() ? status : Annotate(status, removed.message());
}

Co<absl::Status> Container::CreateInit(StdioWanted wanted, const SharedNamespaces* shared) {
  SetUp set_up(shared_from_this());
  LaunchOptions options;
  Namespaces& names = spec_.namespaces;
  if (shared != nullptr) {
    if (!names.pid_path.empty()) options.pid_namespace_fd = shared->pid.get();
    if (!names.ipc_path.empty()) options.ipc_namespace_fd = shared->ipc.get();
    if (!names.uts_path.empty()) options.uts_namespace_fd = shared->uts.get();
  } else {
    CO_RETURN_IF_ERROR(CheckFirstNamespaces(names));
    names.pid_path = names.ipc_path = names.uts_path = std::string();
  }
  absl::StatusOr<Cgroup> cgroup =
      Cgroup::Create(collaborators_.parent_cgroup, id_, spec_.resources);
  if (!cgroup.ok()) co_return cgroup.status();
  cgroup_ = std::move(*cgroup);
  oom_ = std::make_shared<OomWatch>(collaborators_.watcher, cgroup_->path());
  options.container = &spec_;
  options.process = &spec_.process;
  options.cgroup_fd = cgroup_->fd();
  // Known before it is ready, so that a removal meanwhile waits for its end.
  init_ = std::make_shared<Process>(executor_);
  init_->is_init = true;
  absl::Status status = co_await LaunchInto(init_, options, wanted);
  co_return status;
}

Co<absl::Status> Container::Start() {
  SetUp set_up(shared_from_this());
  auto process = Find("");
  const bool is_created = process != nullptr && !is_started_ && !process->is_setting_up &&
                          !process->exited.is_set() && !is_doomed_;
  if (!is_created) {
    co_return absl::FailedPreconditionError(
        absl::StrCat("starting container \"", id_, "\": not in state created"));
  }
  is_started_ = true;
  CO_RETURN_IF_ERROR(process->control->SendStart());
  absl::Status status = co_await AwaitReady(process, true);
  co_return status;
}

UniqueFd Container::ExecCgroup() const {
  // An init that made cgroups of its own (systemd) has moved itself below ours, where processes are
  // still allowed.
  auto text = ReadFile(absl::StrCat("/proc/", init_->pid, "/cgroup"), 1u << 16);
  if (!text.ok()) return UniqueFd();
  const std::string line(absl::StripAsciiWhitespace(*text));
  if (line.rfind("0::", 0) != 0) return UniqueFd();
  const std::string path = absl::StrCat("/sys/fs/cgroup", line.substr(3));
  if (path.rfind(cgroup_->path(), 0) != 0 || absl::StrContains(path, "/../")) return UniqueFd();
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

Co<absl::StatusOr<pid_t>> Container::Exec(std::string exec_id, ProcessSpec spec,
                                          StdioWanted wanted) {
  SetUp set_up(shared_from_this());
  CO_RETURN_IF_ERROR(RequireRunning("exec in"));
  if (freezer_ != Freezer::kThawed) {
    co_return absl::FailedPreconditionError(
        absl::StrCat("exec in container \"", id_, "\": it is paused"));
  }
  if (exec_id.empty() || execs_.size() >= kExecsMax) {
    co_return absl::InvalidArgumentError(
        absl::StrCat("exec \"", exec_id, "\": empty id or too many execs"));
  }
  if (execs_.count(exec_id) != 0) {
    co_return absl::AlreadyExistsError(absl::StrCat("exec \"", exec_id, "\": exists"));
  }
  if (!spec.capabilities) spec.capabilities = spec_.process.capabilities;
  absl::StatusOr<UniqueFd> pid_namespace = OpenNamespace(init_->pid, "pid");
  if (!pid_namespace.ok()) {
    co_return absl::FailedPreconditionError(
        absl::StrCat("exec in container \"", id_, "\": it is not running"));
  }
  UniqueFd cgroup = ExecCgroup();
  LaunchOptions options;
  options.container = &spec_;
  options.process = &spec;
  options.is_exec = true;
  options.init_pidfd = init_->pidfd.get();
  options.pid_namespace_fd = pid_namespace->get();
  options.cgroup_fd = cgroup.valid() ? cgroup.get() : cgroup_->fd();
  auto process = std::make_shared<Process>(executor_);
  execs_[exec_id] = process;
  absl::Status status = co_await LaunchInto(process, options, wanted);
  if (status.ok()) co_return process->pid;
  // It may have ended and been removed meanwhile, and its name be another's.
  auto found = execs_.find(exec_id);
  if (found != execs_.end() && found->second == process) execs_.erase(found);
  co_return status;
}

std::shared_ptr<Process> Container::Find(const std::string& exec_id) const {
  if (exec_id.empty()) return init_ == nullptr || init_->pid < 0 ? nullptr : init_;
  auto found = execs_.find(exec_id);
  return found == execs_.end() || found->second->pid < 0 ? nullptr : found->second;
}

absl::Status Container::Signal(const std::string& exec_id, int number, bool all) {
  auto process = Find(exec_id);
  if (process == nullptr) return Gone();
  if (!all) return SendSignal(*process, number);
  ASSIGN_OR_RETURN(std::vector<pid_t> pids, Pids());
  if (pids.empty()) return Gone();
  if (number == SIGKILL) return cgroup_->Kill();
  int error = 0;
  for (pid_t pid : pids) {
    // One that ended meanwhile is no failure; its number cannot be reused before we reap.
    if (::kill(pid, number) != 0 && errno != ESRCH) error = errno;
  }
  if (error == EINVAL)
    return absl::InvalidArgumentError(absl::StrCat("signal ", number, ": not known"));
  if (error != 0) return SystemError(error, absl::StrCat("signalling container \"", id_, "\""));
  return absl::OkStatus();
}

absl::Status Container::RemoveExec(const std::string& exec_id) {
  auto found = execs_.find(exec_id);
  if (found == execs_.end())
    return absl::NotFoundError(absl::StrCat("exec \"", exec_id, "\": not found"));
  if (!found->second->exited.is_set()) {
    return absl::FailedPreconditionError(
        absl::StrCat("removing exec \"", exec_id, "\": it is running"));
  }
  execs_.erase(found);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<pid_t>> Container::Pids() const {
  if (!cgroup_) return std::vector<pid_t>{};
  return cgroup_->Pids();
}

absl::StatusOr<SharedNamespaces> Container::OpenNamespaces() const {
  SharedNamespaces out;
  if (init_ == nullptr) return absl::FailedPreconditionError("opening namespaces: no init process");
  ASSIGN_OR_RETURN(out.pid, OpenNamespace(init_->pid, "pid"));
  ASSIGN_OR_RETURN(out.ipc, OpenNamespace(init_->pid, "ipc"));
  ASSIGN_OR_RETURN(out.uts, OpenNamespace(init_->pid, "uts"));
  return out;
}

}  // namespace kata::agent
