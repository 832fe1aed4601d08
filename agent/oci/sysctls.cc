// SPDX-License-Identifier: Apache-2.0
#include "agent/oci/sysctls.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <absl/strings/str_cat.h>

#include "agent/base/errors.h"
#include "proto/base/fd.h"

namespace kata::agent {
namespace {

constexpr size_t kErrorTextMax = 4096;

absl::Status WriteInNamespacesOf(int pidfd, const std::map<std::string, std::string>& sysctls, uid_t root) {
  if (::setns(pidfd, CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET) != 0)
    return SystemError(errno, "joining the container's namespaces for the sysctls");
  for (const auto& [key, value] : sysctls) {
    absl::Status status = WriteSysctl(key, value);
    if (!status.ok() && ::seteuid(root) == 0) {
      status = WriteSysctl(key, value);
      if (::seteuid(0) != 0) return SystemError(errno, "becoming the agent's root again");
    }
    RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

}  // namespace

bool IsProcfs(int fd) {
  struct statfs info {};
  return ::fstatfs(fd, &info) == 0 && info.f_type == PROC_SUPER_MAGIC;
}

absl::Status NotProcfs(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(what, ": \"/proc\" is not a proc file system"));
}

absl::Status WriteSysctl(const std::string& key, const std::string& value) {
  std::string path = key;
  std::replace(path.begin(), path.end(), '.', '/');
  if (path.find("//") != std::string::npos || path.empty() || path[0] == '/') {
    return absl::InvalidArgumentError(absl::StrCat("sysctl \"", key, "\": bad name"));
  }
  const std::string what = absl::StrCat("sysctl \"", key, "\"");
  const std::string file = absl::StrCat("/proc/sys/", path);
  UniqueFd fd(::open(file.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return SystemError(errno, absl::StrCat(what, ": opening \"", file, "\""));
  if (!IsProcfs(fd.get())) return NotProcfs(what);
  absl::Status status = WriteAll(fd.get(), value);
  if (!status.ok()) return absl::InternalError(absl::StrCat(what, ": ", status.message()));
  return absl::OkStatus();
}

absl::Status WriteSysctlsFor(int pidfd, const std::map<std::string, std::string>& sysctls, uid_t root) {
  if (sysctls.empty()) return absl::OkStatus();
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return SystemError(errno, "making a pipe");
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  // A process of its own: the agent itself must not change its namespaces.
  const pid_t helper = ::fork();
  if (helper < 0) return SystemError(errno, "making a process for the sysctls");
  if (helper == 0) {
    // Without a way out: an exception would go on in the copy of the agent.
    const auto write = [&]() noexcept {
      const absl::Status status = WriteInNamespacesOf(pidfd, sysctls, root);
      const std::string text(status.message().substr(0, kErrorTextMax));
      static_cast<void>(::write(writer.get(), text.data(), text.size()) < 0);
    };
    write();
    ::_exit(0);
  }
  writer.reset();
  auto text = ReadAll(reader.get(), kErrorTextMax);
  while (::waitpid(helper, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!text.ok()) return text.status();
  return text->empty() ? absl::OkStatus() : absl::InternalError(*text);
}

}  // namespace kata::agent
