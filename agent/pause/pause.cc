// SPDX-License-Identifier: Apache-2.0
#include "agent/pause/pause.h"

#include <fcntl.h>
#include <sys/mount.h>

#include <cerrno>
#include <csignal>
#include <string_view>
#include <utility>

#include "agent/base/errors.h"
#include "proto/base/fd.h"

__asm__(
    ".pushsection .rodata\n"
    ".globl kata_pause_begin, kata_pause_end\n"
    "kata_pause_begin:\n"
    ".incbin \"" KATA_PAUSE_PROGRAM
    "\"\n"
    "kata_pause_end:\n"
    ".popsection\n");
extern "C" const char kata_pause_begin[];
extern "C" const char kata_pause_end[];

namespace kata::agent {
namespace {

// As the pause program of Kubernetes, which people look for in a list of processes.
constexpr char kProgram[] = "/pause";
constexpr char kRootOptions[] = "mode=755,size=256k,nr_inodes=64";

bool IsTerminals(const Mount& mount) { return mount.type == "devpts"; }

}  // namespace

void MakeSandboxContainer(ContainerSpec& spec, std::string root) {
  spec.is_sandbox = true;
  spec.root_path = std::move(root);
  spec.root_is_readonly = true;
  spec.rootfs_propagation.clear();
  spec.process.args = {kProgram};
  spec.process.cwd = "/";
  spec.process.env.clear();
  std::erase_if(spec.mounts, [&spec](const Mount& mount) { return !spec.process.terminal || !IsTerminals(mount); });
  spec.devices.clear();
  spec.masked_paths.clear();
  spec.readonly_paths.clear();
}

absl::Status MountPauseRoot(const std::string& root) {
  if (::mount("pause", root.c_str(), "tmpfs", MS_NOSUID, kRootOptions) != 0)
    return SystemError(errno, absl::StrCat("mounting \"", root, "\""));
  const std::string path = absl::StrCat(root, kProgram);
  UniqueFd file(::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0555));
  if (!file.valid()) return SystemError(errno, absl::StrCat("making \"", path, "\""));
  const std::string_view program(kata_pause_begin, kata_pause_end);
  return WriteAll(file.get(), program);
}

absl::Status BlockPauseSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int number : {SIGINT, SIGTERM, SIGCHLD}) sigaddset(&signals, number);
  if (::sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return SystemError(errno, "blocking signals");
  return absl::OkStatus();
}

}  // namespace kata::agent
