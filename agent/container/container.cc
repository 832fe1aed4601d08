// SPDX-License-Identifier: Apache-2.0
#include "agent/container/container.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include <absl/strings/match.h>
#include <absl/strings/str_split.h>

#include "agent/base/errors.h"
#include "agent/base/paths.h"
#include "agent/process/credentials.h"

namespace kata::agent {
namespace {

// Instructions and their flags.
constexpr size_t kFilterSizeMax = (kSeccompInstructionsMax + 1) * sizeof(sock_filter);

int64_t RealtimeNs() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

absl::Status Gone() { return absl::NotFoundError("process already finished"); }

absl::Status SendSignal(const Process& process, int number) {
  if (process.exited.is_set()) return Gone();
  if (::syscall(SYS_pidfd_send_signal, process.pidfd.get(), number, nullptr, 0) == 0) return absl::OkStatus();
  if (errno == ESRCH) return Gone();
  if (errno == EINVAL) return absl::InvalidArgumentError(absl::StrCat("signal ", number, ": not known"));
  return SystemError(errno, absl::StrCat("signalling process ", process.pid));
}

absl::StatusOr<UniqueFd> OpenProcs(const std::string& cgroup) {
  const std::string path = absl::StrCat(cgroup, "/cgroup.procs");
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return SystemError(errno, absl::StrCat("opening \"", path, "\""));
  return fd;
}

absl::StatusOr<UniqueFd> OpenDirectory(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return SystemError(errno, absl::StrCat("opening \"", path, "\""));
  return fd;
}

// The user must be able to reopen its streams through /dev/stdout.
absl::Status GiveStreams(const IdMappings& uids, const ProcessSpec& process, const std::array<UniqueFd, 3>& streams) {
  const std::optional<uint32_t> uid = MapId(uids, process.uid);
  if (!uid) {
    return absl::InvalidArgumentError(
        absl::StrCat("process.user.uid ", process.uid, ": linux.uidMappings does not have it"));
  }
  for (const UniqueFd& fd : streams) {
    if (fd.valid() && ::fchown(fd.get(), *uid, static_cast<gid_t>(-1)) != 0)
      return SystemError(errno, "changing a stream's owner");
  }
  return absl::OkStatus();
}

// They are the program's, not the set-up's, which a policy could keep from making processes.
absl::Status Schedule(pid_t pid, const ProcessSpec& spec) {
  if (spec.scheduler) RETURN_IF_ERROR(SetScheduler(pid, *spec.scheduler));
  return spec.io_priority ? SetIoPriority(pid, *spec.io_priority) : absl::OkStatus();
}

// An exec is set up wherever there is room, and has its processors from the moment that it enters
// the container's cgroup.
absl::StatusOr<std::vector<unsigned>> CpusOf(const ProcessSpec& exec) {
  const std::string& text = exec.affinity_final.empty() ? exec.affinity_initial : exec.affinity_final;
  if (text.empty()) return std::vector<unsigned>();
  auto wanted = ParseCpuList(text);
  if (!wanted.ok()) return Annotate(wanted.status(), "process.execCPUAffinity");
  return GuestCpus(*wanted, OnlineCpus());
}

bool MountsCgroupWritable(const ContainerSpec& spec) {
  for (const Mount& mount : spec.mounts) {
    const bool is_cgroup = mount.type == "cgroup" || mount.type == "cgroup2";
    if (is_cgroup && std::find(mount.options.begin(), mount.options.end(), "ro") == mount.options.end()) return true;
  }
  return false;
}

absl::StatusOr<UniqueFd> OpenNamespace(pid_t pid, const char* name) {
  const std::string path = absl::StrCat("/proc/", pid, "/ns/", name);
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return SystemError(errno, absl::StrCat("opening \"", path, "\""));
  return fd;
}

}  // namespace

// The first process of an exec may be all there is of it so far.
void KillSetUp(const Process& process) {
  for (const UniqueFd* pidfd : {&process.first_pidfd, &process.pidfd}) {
    if (pidfd->valid()) ::syscall(SYS_pidfd_send_signal, pidfd->get(), SIGKILL, nullptr, 0);
  }
}

absl::StatusOr<SharedNamespaces> SharedNamespaces::OfGuest() {
  SharedNamespaces out;
  ASSIGN_OR_RETURN(out.pid, OpenNamespace(::getpid(), "pid"));
  ASSIGN_OR_RETURN(out.ipc, OpenNamespace(::getpid(), "ipc"));
  ASSIGN_OR_RETURN(out.uts, OpenNamespace(::getpid(), "uts"));
  return out;
}

absl::StatusOr<SharedNamespaces> SharedNamespaces::Copy() const {
  SharedNamespaces out;
  const std::pair<const UniqueFd*, UniqueFd*> all[] = {
      {&pid, &out.pid}, {&ipc, &out.ipc}, {&uts, &out.uts}, {&user, &out.user}, {&time, &out.time}};
  for (const auto& [from, to] : all) {
    if (!from->valid()) continue;
    to->reset(::fcntl(from->get(), F_DUPFD_CLOEXEC, 0));
    if (!to->valid()) return SystemError(errno, "copying a namespace's descriptor");
  }
  out.uid_mappings = uid_mappings;
  out.gid_mappings = gid_mappings;
  return out;
}

// Counts one call that has a child in set-up; it stands in that call's frame.
class Container::SetUp {
 public:
  explicit SetUp(std::shared_ptr<Container> container) : container_(std::move(container)) { ++container_->setups_; }
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
    : executor_(std::move(executor)), collaborators_(std::move(collaborators)), id_(std::move(id)) {}

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
  return absl::FailedPreconditionError(absl::StrCat(doing, " container \"", id_, "\": it is not running"));
}

Co<absl::Status> Container::LaunchInto(std::shared_ptr<Process> process, LaunchOptions options, StdioWanted wanted) {
  std::array<UniqueFd, 3> child_ends;
  if (!options.process->terminal) {
    CO_RETURN_IF_ERROR(process->io->MakePipes(wanted.has_stdin, wanted.has_stdout, wanted.has_stderr, child_ends));
    for (size_t i = 0; i < 3; ++i) options.stdio[i] = child_ends[i].get();
    if (spec_.namespaces.has_user) CO_RETURN_IF_ERROR(GiveStreams(spec_.uid_mappings, *options.process, child_ends));
  }
  options.container_id = id_;
  absl::StatusOr<UniqueFd> set_up_procs = OpenProcs(collaborators_.set_up_cgroup);
  if (!set_up_procs.ok()) co_return set_up_procs.status();
  options.set_up_procs_fd = set_up_procs->get();
  absl::StatusOr<Launched> launched = Launch(executor_, options);
  if (!launched.ok()) co_return launched.status();
  process->control = std::move(launched->control);
  if (options.is_exec) {
    process->first_pidfd = std::move(launched->pidfd);
  } else {
    Adopt(process, launched->pid, std::move(launched->pidfd));
  }
  // Our copies must go, or the pipes would never end.
  for (UniqueFd& fd : child_ends) fd.reset();
  absl::Status status = co_await AwaitReady(process, options.process);
  if (!status.ok() && options.is_exec) {
    // What is left of it ends at the latest when it finds nobody to talk to.
    KillSetUp(*process);
    process->control.reset();
  }
  process->first_pidfd.reset();
  co_return status;
}

void Container::Adopt(std::shared_ptr<Process> process, pid_t pid, UniqueFd pidfd) {
  process->pid = pid;
  process->pidfd = std::move(pidfd);
  auto self = shared_from_this();
  collaborators_.exits->Register(pid, [self, process](int exit_status) { self->Exited(*process, exit_status); });
}

// Of our own making, but from a process that the agent cannot look into.
absl::Status Container::KeepFilter(int file) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadAll(file, kFilterSizeMax));
  ASSIGN_OR_RETURN(filter_, SeccompProgram::FromBytes(bytes));
  return absl::OkStatus();
}

Co<absl::Status> Container::AwaitReady(std::shared_ptr<Process> process, const ProcessSpec* limits,
                                       std::chrono::milliseconds more) {
  const std::chrono::milliseconds timeout = collaborators_.set_up_timeout + more;
  asio::steady_timer limit(executor_);
  limit.expires_after(timeout);
  process->is_setting_up = true;
  limit.async_wait([process](const boost::system::error_code& ec) {
    if (ec || !process->is_setting_up) return;
    process->is_overdue = true;
    // One that waits in the kernel may not even die: the call ends all the same.
    KillSetUp(*process);
    process->control->Cancel();
  });
  absl::Status status = co_await ReceiveReady(process, limits);
  process->is_setting_up = false;
  if (process->is_overdue) {
    co_return absl::DeadlineExceededError(
        absl::StrCat("setting up the process: not done after ", timeout.count(), " ms"));
  }
  if (is_doomed_) {
    co_return absl::FailedPreconditionError(
        absl::StrCat("setting up the process: container \"", id_, "\" is being removed"));
  }
  co_return status;
}

absl::Status Container::EndedEarly(const Process& process) const {
  if (oom_ != nullptr && oom_->Kills() > 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("setting up the process: it was killed for want of memory; linux.resources.memory.limit ",
                     spec_.resources.memory_limit.value_or(0), " is too small for it to start"));
  }
  return absl::InternalError(absl::StrCat("setting up the process: it ended early, status ", process.exit_status));
}

Co<absl::Status> Container::ReceiveReady(std::shared_ptr<Process> process, const ProcessSpec* limits) {
  for (;;) {
    absl::StatusOr<ControlChannel::Message> message = co_await process->control->Receive();
    if (!message.ok()) co_return message.status();
    if (message->kind == kControlError) co_return message->error;
    if (message->kind == kControlTerminal && message->fd.valid()) {
      process->io->SetTerminal(std::move(message->fd));
      continue;
    }
    if (message->kind == kControlFilter && process->is_init && message->fd.valid()) {
      CO_RETURN_IF_ERROR(KeepFilter(message->fd.get()));
      continue;
    }
    const bool is_second = message->kind == kControlSecond && !process->is_init && process->pid < 0 &&
                           message->number > 0 && message->fd.valid();
    if (is_second) {
      Adopt(process, message->number, std::move(message->fd));
      CO_RETURN_IF_ERROR(process->control->Send(kControlKnown));
      continue;
    }
    if (message->kind == kControlReady && process->pid > 0 && !process->is_ready) {
      CO_RETURN_IF_ERROR(SetRlimits(process->pid, *limits));
      CO_RETURN_IF_ERROR(Schedule(process->pid, *limits));
      process->is_ready = true;
      // An init waits for Start.
      if (process->is_init) co_return absl::OkStatus();
      CO_RETURN_IF_ERROR(process->control->Send(kControlStart));
      continue;
    }
    if (message->kind == 0 && process->is_ready) {
      process->control.reset();
      co_return absl::OkStatus();
    }
    co_return EndedEarly(*process);
  }
}

Co<absl::Status> Container::Create(ContainerSpec spec, StdioWanted wanted, const SharedNamespaces* shared) {
  auto self = shared_from_this();
  spec_ = std::move(spec);
  absl::Status status = co_await CreateInit(wanted, shared);
  if (status.ok()) co_return status;
  absl::Status removed = co_await Remove();
  co_return removed.ok() ? status : Annotate(status, removed.message());
}

absl::Status Container::JoinUserNamespace(const SharedNamespaces& shared, LaunchOptions& options) {
  if (shared.uid_mappings.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("linux.namespaces: user at \"", spec_.namespaces.user_path,
                                                   "\": the pod has no user namespace of its own"));
  }
  // What the namespace has counts, whatever the document says.
  spec_.uid_mappings = shared.uid_mappings;
  spec_.gid_mappings = shared.gid_mappings;
  options.user_namespace_fd = shared.user.get();
  return absl::OkStatus();
}

Co<absl::Status> Container::CreateInit(StdioWanted wanted, const SharedNamespaces* shared) {
  SetUp set_up(shared_from_this());
  LaunchOptions options;
  Namespaces& names = spec_.namespaces;
  if (shared != nullptr) {
    if (!names.pid_path.empty()) options.pid_namespace_fd = shared->pid.get();
    if (!names.ipc_path.empty()) options.ipc_namespace_fd = shared->ipc.get();
    if (!names.uts_path.empty()) options.uts_namespace_fd = shared->uts.get();
    if (!names.time_path.empty()) {
      options.time_namespace_fd = shared->time.get();
      if (!shared->time.valid()) {
        co_return absl::InvalidArgumentError(
            absl::StrCat("linux.namespaces: time at \"", names.time_path, "\": the pod has none of its own"));
      }
    }
    if (!names.user_path.empty()) CO_RETURN_IF_ERROR(JoinUserNamespace(*shared, options));
  } else {
    CO_RETURN_IF_ERROR(CheckFirstNamespaces(names));
    names.pid_path = names.ipc_path = names.uts_path = names.user_path = names.time_path = std::string();
    if (names.has_user && spec_.uid_mappings.empty()) {
      co_return absl::InvalidArgumentError(
          "linux.namespaces: a user namespace needs linux.uidMappings and linux.gidMappings");
    }
  }
  absl::StatusOr<Cgroup> cgroup = Cgroup::Create(collaborators_.parent_cgroup, id_, spec_.resources);
  if (!cgroup.ok()) co_return cgroup.status();
  cgroup_ = std::move(*cgroup);
  if (names.has_user && MountsCgroupWritable(spec_)) {
    CO_RETURN_IF_ERROR(DelegateCgroup(cgroup_->path(), *MapId(spec_.uid_mappings, 0), *MapId(spec_.gid_mappings, 0)));
  }
  oom_ = std::make_shared<OomWatch>(collaborators_.watcher, cgroup_->path());
  options.container = &spec_;
  options.process = &spec_.process;
  options.cgroup_fd = cgroup_->fd();
  absl::StatusOr<UniqueFd> procs = OpenProcs(cgroup_->path());
  if (!procs.ok()) co_return procs.status();
  options.final_procs_fd = procs->get();
  // Known before it is ready, so that a removal meanwhile waits for its end.
  init_ = std::make_shared<Process>(executor_);
  init_->is_init = true;
  absl::Status status = co_await LaunchInto(init_, options, wanted);
  co_return status;
}

Co<absl::Status> Container::Start() {
  SetUp set_up(shared_from_this());
  auto process = Find("");
  const bool is_created =
      process != nullptr && !is_started_ && !process->is_setting_up && !process->exited.is_set() && !is_doomed_;
  if (!is_created) {
    co_return absl::FailedPreconditionError(absl::StrCat("starting container \"", id_, "\": not in state created"));
  }
  is_started_ = true;
  CO_RETURN_IF_ERROR(process->control->Send(kControlStart));
  std::chrono::seconds hooks_time{0};
  for (const Hook& hook : spec_.start_hooks) hooks_time += hook.timeout;
  absl::Status status = co_await AwaitReady(process, &spec_.process, hooks_time);
  co_return status;
}

std::string Container::ExecCgroup() const {
  // An init that made cgroups of its own (systemd) has moved itself below ours, where processes are
  // still allowed.
  auto text = ReadFile(absl::StrCat("/proc/", init_->pid, "/cgroup"), 1u << 16);
  const std::string& own = cgroup_->path();
  if (!text.ok()) return own;
  const std::string line(absl::StripAsciiWhitespace(*text));
  if (!absl::StartsWith(line, "0::/")) return own;
  const std::string path = absl::StrCat(kCgroupRoot, line.substr(3));
  const bool is_below = absl::StartsWith(path, absl::StrCat(own, "/"));
  return is_below && !absl::StrContains(path, "/../") ? path : own;
}

Co<absl::StatusOr<pid_t>> Container::Exec(std::string exec_id, ProcessSpec spec, StdioWanted wanted) {
  SetUp set_up(shared_from_this());
  CO_RETURN_IF_ERROR(RequireRunning("exec in"));
  if (freezer_ != Freezer::kThawed) {
    co_return absl::FailedPreconditionError(absl::StrCat("exec in container \"", id_, "\": it is paused"));
  }
  if (exec_id.empty() || execs_.size() >= kExecsMax) {
    co_return absl::InvalidArgumentError(absl::StrCat("exec \"", exec_id, "\": empty id or too many execs"));
  }
  if (execs_.count(exec_id) != 0) {
    co_return absl::AlreadyExistsError(absl::StrCat("exec \"", exec_id, "\": exists"));
  }
  if (!spec.capabilities) spec.capabilities = spec_.process.capabilities;
  absl::StatusOr<UniqueFd> pid_namespace = OpenNamespace(init_->pid, "pid");
  if (!pid_namespace.ok()) {
    co_return absl::FailedPreconditionError(absl::StrCat("exec in container \"", id_, "\": it is not running"));
  }
  absl::StatusOr<UniqueFd> cgroup = OpenDirectory(collaborators_.set_up_cgroup);
  if (!cgroup.ok()) co_return cgroup.status();
  absl::StatusOr<UniqueFd> procs = OpenProcs(ExecCgroup());
  if (!procs.ok()) co_return procs.status();
  LaunchOptions options;
  options.container = &spec_;
  options.process = &spec;
  options.is_exec = true;
  options.init_pidfd = init_->pidfd.get();
  options.pid_namespace_fd = pid_namespace->get();
  options.cgroup_fd = cgroup->get();
  options.final_procs_fd = procs->get();
  options.seccomp = filter_ ? &*filter_ : nullptr;
  CO_ASSIGN_OR_RETURN(options.cpus, CpusOf(spec));
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

Co<absl::Status> Container::Signal(std::string exec_id, int number, bool all) {
  auto self = shared_from_this();
  auto process = Find(exec_id);
  if (process == nullptr) co_return Gone();
  if (!all) co_return SendSignal(*process, number);
  CO_ASSIGN_OR_RETURN(std::vector<pid_t> pids, co_await Pids());
  if (pids.empty() || !cgroup_) co_return Gone();
  if (number == SIGKILL) co_return cgroup_->Kill();
  int error = 0;
  for (pid_t pid : pids) {
    // One that ended meanwhile is no failure; its number is hardly another's so soon.
    if (::kill(pid, number) != 0 && errno != ESRCH) error = errno;
  }
  if (error == EINVAL) co_return absl::InvalidArgumentError(absl::StrCat("signal ", number, ": not known"));
  if (error != 0) co_return SystemError(error, absl::StrCat("signalling container \"", id_, "\""));
  co_return absl::OkStatus();
}

absl::Status Container::RemoveExec(const std::string& exec_id) {
  auto found = execs_.find(exec_id);
  if (found == execs_.end()) return absl::NotFoundError(absl::StrCat("exec \"", exec_id, "\": not found"));
  if (!found->second->exited.is_set()) {
    return absl::FailedPreconditionError(absl::StrCat("removing exec \"", exec_id, "\": it is running"));
  }
  execs_.erase(found);
  return absl::OkStatus();
}

Co<absl::StatusOr<std::vector<pid_t>>> Container::Pids() {
  if (!cgroup_) co_return std::vector<pid_t>{};
  std::string path = cgroup_->path();
  co_return co_await PidsBelow(std::move(path));
}

bool Container::HasOwnPids() const {
  const Namespaces& names = spec_.namespaces;
  return names.has_pid && names.pid_path.empty() && init_ != nullptr && init_->pid > 0 && !init_->exited.is_set();
}

absl::StatusOr<SharedNamespaces> Container::OpenNamespaces() const {
  SharedNamespaces out;
  if (init_ == nullptr) return absl::FailedPreconditionError("opening namespaces: no init process");
  ASSIGN_OR_RETURN(out.pid, OpenNamespace(init_->pid, "pid"));
  ASSIGN_OR_RETURN(out.ipc, OpenNamespace(init_->pid, "ipc"));
  ASSIGN_OR_RETURN(out.uts, OpenNamespace(init_->pid, "uts"));
  if (spec_.namespaces.has_user) {
    ASSIGN_OR_RETURN(out.user, OpenNamespace(init_->pid, "user"));
  }
  if (spec_.namespaces.has_time) {
    ASSIGN_OR_RETURN(out.time, OpenNamespace(init_->pid, "time"));
  }
  out.uid_mappings = spec_.uid_mappings;
  out.gid_mappings = spec_.gid_mappings;
  return out;
}

}  // namespace kata::agent
