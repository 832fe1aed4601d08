// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bootstrap/start.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include <absl/strings/numbers.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"
#include "shimv2/bootstrap/daemon.h"
#include "shimv2/bootstrap/shim_cgroup.h"
#include "shimv2/bootstrap/shim_process.h"
#include "shimv2/bootstrap/socket_address.h"
#include "shimv2/bootstrap/start_input.h"
#include "shimv2/pod/runtime_options.h"
#include "virtcontainers/paths.h"

namespace kata::shimv2 {
namespace {

// Longer than a shim flushes its events.
constexpr int kEndingShimTries = 160;
constexpr useconds_t kEndingShimPause = 50'000;
constexpr char kCgroupRoot[] = "/sys/fs/cgroup";
constexpr int kSchedCoreCreate = 1;  // PR_SCHED_CORE_CREATE
constexpr int kSchedCoreScopeProcessGroup = 2;

absl::Status WriteAddress(const std::string& bundle, const std::string& address) {
  return Annotate(WriteFileAtomically(absl::StrCat(bundle, "/address"), address, 0600), "writing the bundle");
}

// The caller reads `start` until end of file on a pipe that is both 1 and 2: the daemon must not hold it.
void DetachStandardStreams() {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return;
  for (int fd = 0; fd <= 2; ++fd) ::dup2(null, fd);
  if (null > 2) ::close(null);
}

// One more than containerd's own, so that the kernel prefers the shim; without the right to it the value stays.
void AdjustOomScore() {
  auto text = ReadFile("/proc/self/oom_score_adj", 64);
  int score = 0;
  if (!text.ok() || !absl::SimpleAtoi(*text, &score) || score >= 1000) return;
  WriteExisting("/proc/self/oom_score_adj", std::to_string(score + 1)).IgnoreError();
}

absl::StatusOr<std::string> Join(const std::string& bundle, const std::string& path) {
  const std::string address = SocketAddress(path);
  RETURN_IF_ERROR(WriteAddress(bundle, address));
  return address;
}

// Does not return in the daemon.
absl::Status StartDaemon(const Arguments& arguments, const std::string& bundle, const BundleInfo& info,
                         const std::string& path, UniqueFd socket, wire::Any options, const std::string& shim_cgroup) {
  RETURN_IF_ERROR(WriteAddress(bundle, SocketAddress(path)));
  const pid_t child = ::fork();
  if (child < 0) return ErrnoStatus(errno, "starting the shim process");
  if (child == 0) {
    ::setpgid(0, 0);
    DetachStandardStreams();
    AdjustOomScore();
    std::_Exit(RunDaemon(arguments, bundle, info.sandbox_id, path, std::move(socket), std::move(options)));
  }
  // Before the answer: a `delete` may come as soon as it is out, and must find the process.
  absl::Status status = Annotate(RecordShimProcess(bundle, child), "recording the shim process");
  if (status.ok() && !shim_cgroup.empty()) status = JoinShimCgroup(kCgroupRoot, shim_cgroup, child);
  if (status.ok()) return status;
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return status;
}

}  // namespace

absl::StatusOr<std::string> FindSandboxSocket(const std::string& bundle, const std::string& computed_path,
                                              const BundleInfo& info) {
  if (IsListening(computed_path)) return computed_path;
  // A sandbox whose socket lies elsewhere, as its caller asked.
  const std::string parent = bundle.substr(0, bundle.rfind('/'));
  if (virtcontainers::IsValidId(info.sandbox_id)) {
    const std::string recorded = RecordedSocketPath(absl::StrCat(parent, "/", info.sandbox_id));
    if (!recorded.empty() && IsListening(recorded)) return recorded;
  }
  return absl::UnavailableError(
      absl::StrCat("joining sandbox \"", info.sandbox_id, "\": it has no running shim; delete the pod"));
}

absl::StatusOr<std::string> Start(const Arguments& arguments) {
  char* cwd = ::get_current_dir_name();
  if (cwd == nullptr) return ErrnoStatus(errno, "finding the bundle (the working directory)");
  const std::string bundle = cwd;
  std::free(cwd);
  ASSIGN_OR_RETURN(std::string bytes, ReadCallerInput(STDIN_FILENO, kCallerInputTimeout));
  ASSIGN_OR_RETURN(StartInput input, ParseStartInput(bytes, arguments.id, arguments.name_space));
  ASSIGN_OR_RETURN(const RuntimeOptions options, ParseRuntimeOptions(input.options));
  auto read = ReadBundle(bundle, arguments.id);
  // That of a pod has no document where the Sandbox API makes it.
  if (absl::IsNotFound(read.status())) read = BundleOfSandbox(arguments.id);
  ASSIGN_OR_RETURN(const BundleInfo info, std::move(read));
  const std::string path = SocketPath(input.socket_directory, arguments.address, arguments.name_space, info.group);
  if (info.joins_sandbox) {
    auto joined = FindSandboxSocket(bundle, path, info);
    if (!joined.ok()) return Annotate(joined.status(), absl::StrCat("starting container \"", arguments.id, "\""));
    return Join(bundle, *joined);
  }
  if (info.may_join && IsListening(path)) return Join(bundle, path);
  if (std::getenv("SCHED_CORE") != nullptr &&
      ::prctl(PR_SCHED_CORE, kSchedCoreCreate, 0, kSchedCoreScopeProcessGroup, 0) != 0) {
    return ErrnoStatus(errno, "making a core scheduling group (SCHED_CORE is set)");
  }
  auto socket = ListenOn(path);
  // Another container of the group was faster.
  if (info.may_join && absl::IsAlreadyExists(socket.status())) return Join(bundle, path);
  // A caller uses an id again when it has forgotten the one before, whose shim may be ending.
  for (int i = 0; i < kEndingShimTries && absl::IsAlreadyExists(socket.status()); ++i) {
    ::usleep(kEndingShimPause);
    socket = ListenOn(path);
  }
  if (!socket.ok()) return socket.status();
  absl::Status started =
      StartDaemon(arguments, bundle, info, path, std::move(*socket), std::move(input.options), options.shim_cgroup);
  if (!started.ok()) {
    ::unlink(path.c_str());
    return started;
  }
  return SocketAddress(path);
}

}  // namespace kata::shimv2
