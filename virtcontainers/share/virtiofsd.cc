// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/share/virtiofsd.h"

#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>

#include "proto/base/log.h"
#include "proto/base/process.h"
#include "proto/base/status.h"
#include "virtcontainers/agent_client/listening_socket.h"
#include "virtcontainers/share/virtiofsd_words.h"

namespace kata::virtcontainers {
namespace {

constexpr int kSocketFd = 3;  // where virtiofsd finds its listening socket: the first that it is given
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
    UniqueFd fd = OpenProcess(child);
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

absl::Status EndTree(int pidfd, pid_t pid, std::chrono::milliseconds timeout) {
  // Stopped first, so that it makes no child between the look and the kill.
  SignalProcess(pidfd, SIGSTOP);
  std::vector<UniqueFd> children = OpenChildren(pid);
  for (const UniqueFd& child : children) SignalProcess(child.get(), SIGKILL);
  SignalProcess(pidfd, SIGKILL);
  for (const UniqueFd& child : children) HasEnded(child.get(), timeout);
  return KillProcess(pidfd, "virtiofsd", timeout);
}

// In the child, before it becomes virtiofsd.
const char* Prepare(int mount_namespace, rlim_t descriptors) {
  if (::setns(mount_namespace, CLONE_NEWNS) != 0) return "entering the share's mount namespace";
  const rlimit limit{descriptors, descriptors};
  ::setrlimit(RLIMIT_NOFILE, &limit);
  // The daemon takes the caller's user and group to create a file, but not its supplementary groups, so the kernel here
  // would refuse what the guest's kernel has allowed by them (each fsGroup volume). The guest's check is the one that
  // counts: the daemon keeps its capabilities over the change of user, and the user decides on the owner only.
  if (::prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED) != 0) {
    return "setting its securebits, which needs CAP_SETPCAP";
  }
  return nullptr;
}

absl::StatusOr<std::string> Program(const std::string& configured) {
  if (configured.empty()) return FindVirtiofsd();
  if (::access(configured.c_str(), X_OK) == 0) return configured;
  const absl::Status status =
      ErrnoStatus(errno, absl::StrCat("virtiofsd \"", configured, "\" of configuration key \"virtio_fs_daemon\""));
  return absl::Status(status.code(), absl::StrCat(status.message(), "; correct the key, or install virtiofsd"));
}

}  // namespace

absl::StatusOr<Virtiofsd> StartVirtiofsd(const VirtiofsdOptions& options) {
  ASSIGN_OR_RETURN(const std::string program, Program(options.program));
  absl::StatusOr<VirtiofsdKind> kind = ProbeVirtiofsd(program, options.cache_dir);
  if (!kind.ok()) return Annotate(kind.status(), absl::StrCat("asking \"", program, "\" for its options"));
  ASSIGN_OR_RETURN(UniqueFd socket, ListenFor(options.socket_path, options.uid, options.gid));
  const rlim_t descriptors = RaiseDescriptorLimit();
  ChildOptions child;
  child.name = "virtiofsd";
  child.words = VirtiofsdWords(
      *kind, {options.directory, options.cache, kSocketFd, descriptors < kDescriptorsLow, options.extra_arguments});
  child.words.insert(child.words.begin(), program);
  child.descriptors = {socket.get()};
  ASSIGN_OR_RETURN(OutputPipe output, MakeOutputPipe());
  child.output = output.write.get();
  child.leads_session = true;     // tells its orphans from the shim's children
  child.dies_with_parent = true;  // a shim that is killed before the pid file is there leaves nothing to find it by
  child.prepare = [mount_namespace = options.mount_namespace, descriptors] {
    return Prepare(mount_namespace, descriptors);
  };
  const std::function<absl::Status(pid_t)> record = [&options](pid_t pid) {
    return WriteFileAtomically(options.pid_file, std::to_string(pid), 0600);
  };
  Virtiofsd daemon;
  // Whoever goes on may take away what the program is found in: it runs by then.
  ASSIGN_OR_RETURN(daemon.process, StartChild(child, record));
  daemon.output = std::move(output.read);
  daemon.descriptors = descriptors;
  return daemon;
}

absl::Status StopVirtiofsd(Virtiofsd& daemon, std::chrono::milliseconds timeout) {
  if (daemon.process.pid == 0) return absl::OkStatus();
  RETURN_IF_ERROR(EndTree(daemon.process.pidfd.get(), daemon.process.pid, timeout));
  return EndChild(daemon.process, "virtiofsd", timeout);
}

absl::Status CleanUpVirtiofsd(const std::string& pid_file, std::chrono::milliseconds timeout) {
  auto text = ReadFile(pid_file, 64);
  int pid = 0;
  if (!text.ok() || !absl::SimpleAtoi(*text, &pid) || pid <= 1) return absl::OkStatus();
  const UniqueFd pidfd = OpenProcess(pid);
  // The pid may be another process's by now: ours names the sandbox's directory on its command
  // line.
  auto command = ReadFile(absl::StrCat("/proc/", pid, "/cmdline"), 64u << 10);
  const std::string sandbox = pid_file.substr(0, pid_file.rfind('/'));
  const std::string id = sandbox.substr(sandbox.rfind('/') + 1);
  if (!pidfd.valid() || !command.ok() || !absl::StrContains(*command, absl::StrCat("/shared/", id, "/ro"))) {
    return absl::OkStatus();
  }
  return EndTree(pidfd.get(), pid, timeout);
}

}  // namespace kata::virtcontainers
