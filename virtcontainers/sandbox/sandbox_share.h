// SPDX-License-Identifier: Apache-2.0
// What the sandbox's guest sees of the host: the shared directory in a mount namespace of its own, and the virtiofsd
// that serves it, if it is not QEMU that does. Io thread only.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/thread_pool.hpp>

#include "hypervisors/hypervisor.h"
#include "proto/base/coro.h"
#include "virtcontainers/config/config.h"
#include "virtcontainers/share/share_namespace.h"
#include "virtcontainers/share/shared_volumes.h"
#include "virtcontainers/share/virtiofsd.h"

namespace kata::virtcontainers {

class SandboxShare : public std::enable_shared_from_this<SandboxShare> {
 public:
  SandboxShare(asio::any_io_executor executor, asio::thread_pool& pool, std::string sandbox_id);

  // Makes it, and adds its device to the machine's spec. The runtime directory is there.
  Co<absl::Status> Open(const Config& config, std::shared_ptr<hypervisors::VmSpec> spec);
  // Where a container's mounts are made; null before it is open.
  const std::shared_ptr<const ShareNamespace>& mounts() const { return mounts_; }
  // The same for volumes that several containers may have.
  const std::shared_ptr<SharedVolumes>& volumes() const { return volumes_; }
  pid_t daemon_pid() const { return daemon_->process.pid; }    // 0: there is none
  uint64_t files_max() const { return daemon_->descriptors; }  // that the guest may know at once; 0: any number
  // The daemon's end; at once where there is none.
  Co<absl::Status> WaitDaemon();
  // The guest has mounted it: lets go of the host's mounts besides, in its own time.
  void KeepOnlyOwn();
  // Once the machine has ended: takes whatever Open has come to, for the job that ends it. That blocks; a pool thread.
  std::function<absl::Status()> Close();

 private:
  asio::any_io_executor executor_;
  asio::thread_pool& pool_;
  const std::string sandbox_id_;
  std::shared_ptr<const ShareNamespace> mounts_;
  std::shared_ptr<SharedVolumes> volumes_;
  std::shared_ptr<Virtiofsd> daemon_ = std::make_shared<Virtiofsd>();
};

}  // namespace kata::virtcontainers
