// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/accelerator/probe_boot.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <vector>

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include "hypervisors/accelerator/kernel_params.h"
#include "proto/base/child_process.h"
#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::hypervisors {
namespace {

// The kernel's last line of its own.
constexpr char kMarker[] = "as init process";
constexpr char kMemoryMib[] = "128";
constexpr std::chrono::seconds kEndTimeout{10};
constexpr useconds_t kLockPause = 10000;  // microseconds
constexpr size_t kOutputMax = 256u << 10;
constexpr size_t kOutputInError = 200;
constexpr size_t kVerdictMax = 4096;
constexpr char kGood[] = "runs";

std::vector<std::string> CommandLine(const VmSpec& spec, const std::string& accelerator) {
  // Not quiet: the marker is a message of the kernel.
  std::string params = absl::StrCat(kKernelParams, " loglevel=7");
  if (accelerator == "tcg") params += TcgKernelParams(1, 1);
  std::vector<std::string> words = {spec.emulator,
                                    "-nodefaults",
                                    "-no-user-config",
                                    "-no-reboot",
                                    "-display",
                                    "none",
                                    "-sandbox",
                                    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
                                    "-machine",
                                    spec.machine_type,
                                    "-accel",
                                    accelerator,
                                    "-m",
                                    kMemoryMib,
                                    "-chardev",
                                    "stdio,id=console,signal=off",
                                    "-serial",
                                    "chardev:console",
                                    "-kernel",
                                    spec.kernel,
                                    "-initrd",
                                    spec.initrd,
                                    "-append",
                                    params};
  if (!spec.firmware.empty()) words.insert(words.end(), {"-bios", spec.firmware});
  return words;
}

// In the child.
const char* BecomeUser(uid_t uid, gid_t gid) {
  // Raw calls: those of libc want to reach other threads.
  if (uid != 0 && (::syscall(SYS_setgroups, 0, nullptr) != 0 || ::syscall(SYS_setresgid, gid, gid, gid) != 0 ||
                   ::syscall(SYS_setresuid, uid, uid, uid) != 0)) {
    return "becoming the machine's user";
  }
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? nullptr : "giving up new privileges";
}

// Reads until the marker; what went wrong otherwise.
absl::Status WaitForMarker(int fd, std::chrono::milliseconds timeout) {
  const auto until = std::chrono::steady_clock::now() + timeout;
  std::string output;
  for (;;) {
    const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    pollfd entry{fd, POLLIN, 0};
    const int ready = rest.count() > 0 ? poll(&entry, 1, static_cast<int>(rest.count())) : 0;
    if (ready < 0 && errno == EINTR) continue;
    char buffer[4096];
    const ssize_t n = ready > 0 ? read(fd, buffer, sizeof(buffer)) : 0;
    if (n > 0) {
      output.append(buffer, static_cast<size_t>(n));
      if (absl::StrContains(output, kMarker)) return absl::OkStatus();
      if (output.size() <= kOutputMax) continue;
    }
    std::string tail = output.substr(output.size() - std::min(output.size(), kOutputInError));
    for (char& c : tail) {
      if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = ' ';
    }
    absl::StripAsciiWhitespace(&tail);
    return absl::UnavailableError(absl::StrCat(ready > 0 ? "the machine ended" : "the kernel did not start in time",
                                               "; it wrote: ", tail.empty() ? "nothing" : tail));
  }
}

// Names the files' versions.
absl::StatusOr<std::string> VerdictName(const VmSpec& spec, const std::string& accelerator) {
  std::string name = accelerator;
  for (const std::string& path : {spec.emulator, spec.kernel, spec.initrd}) {
    struct stat info;
    if (stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, absl::StrCat("look at \"", path, "\""));
    absl::StrAppend(&name, "-", info.st_dev, ".", info.st_ino, ".", info.st_mtim.tv_sec, ".", info.st_mtim.tv_nsec);
  }
  return name;
}

// The verdict in `path` when there is one that still counts; `boot_id` is its first line.
bool ReadVerdict(const std::string& path, const std::string& boot_id, absl::Status* verdict) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return false;
  auto text = ReadFile(path, kVerdictMax);
  if (!text.ok() || !absl::StartsWith(*text, boot_id)) return false;
  text->erase(0, boot_id.size());
  if (*text == kGood) {
    *verdict = absl::OkStatus();
    return true;
  }
  const auto age = std::chrono::seconds(time(nullptr) - info.st_mtim.tv_sec);
  if (age < std::chrono::seconds(0) || age > kProbeAgainAfter) return false;
  *verdict = absl::UnavailableError(*text);
  return true;
}

}  // namespace

absl::Status ProbeBoot(const VmSpec& spec, const std::string& accelerator, std::chrono::milliseconds timeout) {
  int ends[2];
  const std::string what = absl::StrCat("boot a guest under ", accelerator);
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, what);
  const UniqueFd output(ends[0]);
  UniqueFd input(ends[1]);
  ChildOptions options;
  options.name = "emulator";
  options.words = CommandLine(spec, accelerator);
  options.output = input.get();
  options.dies_with_parent = true;  // a probe does not outlive the process that wants to know
  options.prepare = [uid = spec.uid, gid = spec.gid] { return BecomeUser(uid, gid); };
  auto child = StartChild(options);
  if (!child.ok()) return Annotate(child.status(), what);
  input.reset();
  absl::Status status = WaitForMarker(output.get(), timeout);
  status.Update(EndChild(*child, "the probed machine", kEndTimeout));
  return status.ok() ? status : Annotate(status, what);
}

absl::Status ProbeBootOnce(const VmSpec& spec, const std::string& accelerator, const std::string& cache_dir,
                           std::chrono::milliseconds timeout) {
  if (cache_dir.empty()) return ProbeBoot(spec, accelerator, timeout);
  ASSIGN_OR_RETURN(const std::string name, VerdictName(spec, accelerator));
  const std::string path = absl::StrCat(cache_dir, "/", name);
  ASSIGN_OR_RETURN(const std::string boot_id, ReadFile("/proc/sys/kernel/random/boot_id", kVerdictMax));
  absl::Status verdict;
  if (ReadVerdict(path, boot_id, &verdict)) return verdict;
  RETURN_IF_ERROR(MakeDirs(cache_dir, 0700));
  const std::string lock_path = cache_dir + "/lock";
  const UniqueFd lock(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) return ErrnoStatus(errno, absl::StrCat("open \"", lock_path, "\""));
  // For as long as another one's probe may take. One that is stopped does not hold up the others for ever: they probe
  // for themselves then.
  const auto until = std::chrono::steady_clock::now() + timeout;
  while (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return ErrnoStatus(errno, absl::StrCat("lock \"", lock_path, "\""));
    if (std::chrono::steady_clock::now() >= until) break;
    usleep(kLockPause);
  }
  if (ReadVerdict(path, boot_id, &verdict)) return verdict;
  verdict = ProbeBoot(spec, accelerator, timeout);
  const std::string text = absl::StrCat(boot_id, verdict.ok() ? kGood : verdict.message());
  RETURN_IF_ERROR(WriteFileAtomically(path, text.substr(0, kVerdictMax), 0600));
  return verdict;
}

}  // namespace kata::hypervisors
