// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/accelerator/accelerator.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "hypervisors/accelerator/probe_boot.h"
#include "proto/base/status.h"

namespace kata::hypervisors {
namespace {

// Opens and closes `path` with the file system rights of uid and gid alone, in a thread that ends with them.
// Returns 0 or an errno value.
int TryOpenAs(const std::string& path, int flags, uid_t uid, gid_t gid) {
  int error = 0;
  std::thread thread([&] {
    if (uid != 0) {
      // The raw call changes this thread only; glibc's would change the process.
      syscall(SYS_setgroups, 0, nullptr);
      setfsgid(gid);
      setfsuid(uid);
    }
    const int fd = open(path.c_str(), flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
      error = errno;
    } else {
      close(fd);
    }
  });
  thread.join();
  return error;
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

std::string WhyNotKvm(uid_t uid, gid_t gid, const std::string& device, const std::string& module_dir) {
  const int error = TryOpenAs(device, O_RDWR, uid, gid);
  if (error != 0) {
    const absl::Status status =
        ErrnoStatus(error, absl::StrCat("open \"", device, "\" as user ", uid, ", group ", gid));
    return std::string(status.message());
  }
#if defined(__x86_64__) || defined(__i386__)
  if (!Exists(module_dir + "/kvm_intel") && !Exists(module_dir + "/kvm_amd")) {
    return "neither kvm_intel nor kvm_amd is loaded";
  }
#endif
  return "";
}

std::string WhyNotBooted(const VmSpec& spec) {
  const std::string verdicts = spec.cache_dir.empty() ? "" : spec.cache_dir + "/boots";
  const absl::Status status = ProbeBootOnce(spec, "kvm", verdicts, kProbeTimeout);
  return std::string(status.message());
}

}  // namespace

AcceleratorChoice ChooseAccelerator(const VmSpec& spec, const std::string& kvm_device, const std::string& module_dir) {
  AcceleratorChoice choice;
  if (spec.accelerator == Accelerator::kTcg) return choice;
  choice.why_not_kvm = WhyNotKvm(spec.uid, spec.gid, kvm_device, module_dir);
  if (spec.accelerator == Accelerator::kAuto && choice.why_not_kvm.empty()) choice.why_not_kvm = WhyNotBooted(spec);
  choice.is_kvm = spec.accelerator == Accelerator::kKvm || choice.why_not_kvm.empty();
  return choice;
}

absl::Status CheckFile(const std::string& path, const std::string& key, uid_t uid, gid_t gid, bool is_program) {
  const std::string what = absl::StrCat(key, " \"", path, "\" of configuration key \"", key, "\"");
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    const absl::Status status = ErrnoStatus(errno, what);
    return absl::Status(status.code(), absl::StrCat(status.message(), "; correct the key, or install what it names"));
  }
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": not a regular file; correct the key"));
  }
  const int error = TryOpenAs(path, O_RDONLY, uid, gid);
  if (error != 0) {
    const absl::Status status = ErrnoStatus(error, what);
    return absl::Status(status.code(), absl::StrCat(status.message(), "; the machine's user ", uid,
                                                    " must be able to read it and pass its directories"));
  }
  if (is_program && (info.st_mode & S_IXOTH) == 0) {
    return absl::PermissionDeniedError(absl::StrCat(what, ": not executable for others"));
  }
  return absl::OkStatus();
}

}  // namespace kata::hypervisors
