// SPDX-License-Identifier: Apache-2.0
#include "shimv2/start.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdlib>

#include <absl/strings/numbers.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"
#include "shimv2/bundle.h"
#include "shimv2/daemon.h"
#include "shimv2/shim_process.h"
#include "shimv2/socket_address.h"

namespace kata::shimv2 {
namespace {

constexpr int kSchedCoreCreate = 1;              // PR_SCHED_CORE_CREATE
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

}  // namespace

absl::StatusOr<std::string> Start(const Arguments& arguments) {
  char* cwd = ::get_current_dir_name();
  if (cwd == nullptr) return ErrnoStatus(errno, "finding the bundle (the working directory)");
  const std::string bundle = cwd;
  std::free(cwd);
  ASSIGN_OR_RETURN(BundleInfo info, ReadBundle(bundle, arguments.id));
  const std::string path = SocketPath(arguments.address, arguments.name_space, info.sandbox_id);
  const std::string address = SocketAddress(path);
  if (info.joins_sandbox) {
    if (!IsListening(path)) {
      return absl::UnavailableError(absl::StrCat("starting container \"", arguments.id, "\": sandbox \"",
                                                 info.sandbox_id, "\" has no running shim; delete the pod"));
    }
    RETURN_IF_ERROR(WriteAddress(bundle, address));
    return address;
  }
  if (std::getenv("SCHED_CORE") != nullptr &&
      ::prctl(PR_SCHED_CORE, kSchedCoreCreate, 0, kSchedCoreScopeProcessGroup, 0) != 0) {
    return ErrnoStatus(errno, "making a core scheduling group (SCHED_CORE is set)");
  }
  ASSIGN_OR_RETURN(UniqueFd socket, ListenOn(path));
  if (absl::Status status = WriteAddress(bundle, address); !status.ok()) {
    ::unlink(path.c_str());
    return status;
  }
  const pid_t child = ::fork();
  if (child < 0) {
    ::unlink(path.c_str());
    return ErrnoStatus(errno, "starting the shim process");
  }
  if (child == 0) {
    ::setpgid(0, 0);
    DetachStandardStreams();
    AdjustOomScore();
    RecordShimProcess(bundle, ::getpid()).IgnoreError();
    std::_Exit(RunDaemon(arguments, bundle, info.sandbox_id, path, std::move(socket)));
  }
  return address;
}

}  // namespace kata::shimv2
