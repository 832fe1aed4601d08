// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/network/network_namespace.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <future>
#include <thread>

#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

absl::StatusOr<UniqueFd> OpenNamespaceFile(const std::string& path) {
  const std::string what = absl::StrCat("opening network namespace \"", path, "\"");
  // A fifo would wait for its writer.
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return ErrnoStatus(errno, what);
  if (::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET)
    return absl::InvalidArgumentError(absl::StrCat(what, ": it is none"));
  return fd;
}

absl::Status BringLoopbackUp() {
  UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "making a socket");
  ifreq request{};
  std::strncpy(request.ifr_name, "lo", IFNAMSIZ - 1);
  request.ifr_flags = IFF_UP;
  if (::ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) {
    return ErrnoStatus(errno, "setting up \"lo\" of a new network namespace");
  }
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> MakeNamespace() {
  absl::StatusOr<UniqueFd> result = absl::UnknownError("not run");
  // A thread of its own: the pool's must stay where they are.
  std::thread([&result] {
    if (::unshare(CLONE_NEWNET) != 0) {
      result = ErrnoStatus(errno, "making a network namespace");
      return;
    }
    if (absl::Status status = BringLoopbackUp(); !status.ok()) {
      result = status;
      return;
    }
    result = OpenNamespaceFile(absl::StrCat("/proc/self/task/", ::syscall(SYS_gettid), "/ns/net"));
  }).join();
  return result;
}

}  // namespace

bool NetworkNamespace::IsHosts() const {
  struct stat own {};
  struct stat other {};
  return ::stat("/proc/self/ns/net", &own) == 0 && ::fstat(fd_.get(), &other) == 0 && own.st_dev == other.st_dev &&
         own.st_ino == other.st_ino;
}

absl::Status NetworkNamespace::Run(const std::function<absl::Status()>& job) const {
  return std::async(std::launch::async,
                    [this, &job]() -> absl::Status {
                      if (::setns(fd_.get(), CLONE_NEWNET) != 0)
                        return ErrnoStatus(errno, "entering the network namespace");
                      return job();
                    })
      .get();
}

absl::StatusOr<std::shared_ptr<const NetworkNamespace>> NetworkNamespace::Open(const std::string& path) {
  auto fd = path.empty() ? MakeNamespace() : OpenNamespaceFile(path);
  if (!fd.ok()) return fd.status();
  return std::shared_ptr<const NetworkNamespace>(new NetworkNamespace(std::move(*fd)));
}

}  // namespace kata::virtcontainers
