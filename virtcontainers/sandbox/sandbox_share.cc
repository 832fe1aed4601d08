// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/sandbox_share.h"

#include <fcntl.h>

#include <utility>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "virtcontainers/paths.h"
#include "virtcontainers/share/daemon_log.h"
#include "virtcontainers/share/shared_directory.h"

namespace kata::virtcontainers {
namespace {

constexpr char kShareDevice[] = "share";
constexpr std::chrono::seconds kVirtiofsdStopTimeout{2};

VirtiofsdOptions OptionsOf(const std::string& sandbox_id, const Config& config, const hypervisors::VmSpec& spec) {
  VirtiofsdOptions out;
  out.program = config.virtio_fs_daemon;
  out.cache_dir = spec.cache_dir;
  out.directory = ExportedDirectory(sandbox_id);
  out.cache = config.virtio_fs_cache;
  out.extra_arguments = config.virtio_fs_extra_args;
  out.socket_path = absl::StrCat(spec.runtime_dir, "/virtiofsd.sock");
  out.pid_file = absl::StrCat(spec.runtime_dir, "/virtiofsd.pid");
  out.uid = spec.uid;
  out.gid = spec.gid;
  return out;
}

struct Made {
  std::shared_ptr<const ShareNamespace> mounts;
  std::shared_ptr<Virtiofsd> daemon = std::make_shared<Virtiofsd>();
};

absl::StatusOr<Made> Make(const std::string& sandbox_id, VirtiofsdOptions& options, bool uses_9p) {
  Made out;
  ASSIGN_OR_RETURN(out.mounts, ShareNamespace::Make());
  const uid_t owner = uses_9p ? options.uid : 0;
  RETURN_IF_ERROR(out.mounts->Run([&sandbox_id, owner] { return MakeSharedDirectory(sandbox_id, owner); }));
  if (uses_9p) return out;
  options.mount_namespace = out.mounts->fd();
  ASSIGN_OR_RETURN(*out.daemon, StartVirtiofsd(options));
  return out;
}

}  // namespace

SandboxShare::SandboxShare(asio::any_io_executor executor, asio::thread_pool& pool, std::string sandbox_id)
    : executor_(executor), pool_(pool), sandbox_id_(std::move(sandbox_id)) {}

Co<absl::Status> SandboxShare::Open(const Config& config, std::shared_ptr<hypervisors::VmSpec> spec) {
  auto self = shared_from_this();
  const bool uses_9p = config.shared_fs == SharedFs::k9p;
  const uint32_t queue_size = config.virtio_fs_queue_size;
  auto options = std::make_shared<VirtiofsdOptions>(OptionsOf(sandbox_id_, config, *spec));
  std::function<absl::StatusOr<Made>()> make = [id = sandbox_id_, options, uses_9p] {
    return Make(id, *options, uses_9p);
  };
  CO_ASSIGN_OR_RETURN(Made made, co_await RunBlockingFor<Made>(pool_, std::move(make)));
  mounts_ = made.mounts;
  volumes_ = std::make_shared<SharedVolumes>(sandbox_id_, mounts_);
  daemon_ = made.daemon;
  if (daemon_->output.valid())
    Spawn(executor_, "logging virtiofsd", LogDaemon("virtiofsd", std::move(daemon_->output)));
  if (uses_9p) {
    spec->devices.push_back({kShareDevice, hypervisors::NinePShare{kShareTag, options->directory}});
    spec->mount_namespace = mounts_->fd();
  } else {
    spec->devices.push_back({kShareDevice, hypervisors::VirtioFsShare{kShareTag, options->socket_path, queue_size}});
  }
  co_return absl::OkStatus();
}

Co<absl::Status> SandboxShare::WaitDaemon() {
  auto self = shared_from_this();
  if (!daemon_->process.pidfd.valid()) co_return absl::OkStatus();
  UniqueFd pidfd(::fcntl(daemon_->process.pidfd.get(), F_DUPFD_CLOEXEC, 0));
  if (!pidfd.valid()) co_return ErrnoStatus(errno, "watching virtiofsd");
  asio::posix::stream_descriptor process(executor_, pidfd.release());
  co_await process.async_wait(asio::posix::stream_descriptor::wait_read, kTuple);
  co_return absl::OkStatus();
}

void SandboxShare::KeepOnlyOwn() {
  // Virtiofsd has found its files and lives in a namespace of its own.
  asio::post(pool_, [mounts = mounts_, id = sandbox_id_] {
    const absl::Status kept = mounts->KeepOnly(SharedDirectory(id));
    if (!kept.ok()) log::Warn("letting go of the host's mounts: {}", kept.message());
  });
}

std::function<absl::Status()> SandboxShare::Close() {
  auto daemon = std::exchange(daemon_, std::make_shared<Virtiofsd>());
  volumes_ = nullptr;
  return [id = sandbox_id_, daemon, mounts = std::exchange(mounts_, nullptr)]() mutable {
    // Each step whatever came of the one before.
    absl::Status closed = StopVirtiofsd(*daemon, kVirtiofsdStopTimeout);
    // Its last user but virtiofsd: the mounts go here, which may take their time.
    mounts.reset();
    closed.Update(RemoveSharedDirectory(id));
    return closed;
  };
}

}  // namespace kata::virtcontainers
