// SPDX-License-Identifier: Apache-2.0
#include "shimv2/delete.h"

#include <signal.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

#include <boost/asio/io_context.hpp>

#include "proto/base/coro.h"
#include "proto/base/status.h"
#include "proto/schema/task_v2.ttrpc.h"
#include "shimv2/bundle.h"
#include "shimv2/shim_process.h"
#include "shimv2/socket_address.h"
#include "virtcontainers/sandbox.h"

namespace kata::shimv2 {
namespace {

constexpr std::chrono::milliseconds kStateTimeout{1000};    // a live shim answers State from memory
constexpr std::chrono::milliseconds kShimEndGrace{1000};    // a shim that is shutting down is let finish
constexpr std::chrono::milliseconds kCleanUpTimeout{2000};
constexpr uint32_t kKilledStatus = 137;

Co<absl::Status> AskState(std::shared_ptr<ttrpc::Connection> connection, std::string id,
                          std::shared_ptr<absl::Status> answer) {
  containerd::task::v2::TaskClient client(connection);
  containerd::task::StateRequest request;
  request.set_id(id);
  auto response = co_await client.State(request, kStateTimeout);
  *answer = response.status();
  connection->Close(absl::CancelledError("done"));
  co_return absl::OkStatus();
}

// OK: the shim lives and holds the container. NotFound: it lives and has forgotten it. Else: no shim answers.
absl::Status ShimState(const std::string& socket_path, const std::string& id) {
  ASSIGN_OR_RETURN(UniqueFd fd, ttrpc::ConnectUnix(socket_path));
  asio::io_context io{1};
  auto answer = std::make_shared<absl::Status>(absl::UnavailableError("no answer"));
  auto connection =
      ttrpc::Connection::Start(io.get_executor(), ttrpc::MakeFdTransport(io.get_executor(), std::move(fd)), nullptr);
  Spawn(io.get_executor(), "asking the shim", AskState(connection, id, answer));
  io.run_for(kStateTimeout * 2);
  return *answer;
}

std::string Response() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  containerd::task::DeleteResponse response;
  response.set_exit_status(kKilledStatus);
  response.mutable_exited_at()->set_seconds(now.tv_sec);
  response.mutable_exited_at()->set_nanos(static_cast<int32_t>(now.tv_nsec));
  return response.SerializeAsString();
}

}  // namespace

absl::StatusOr<std::string> Delete(const Arguments& arguments) {
  std::string bundle = arguments.bundle;
  if (bundle.empty()) {
    char* cwd = ::get_current_dir_name();
    bundle = cwd != nullptr ? cwd : "/nonexistent";
    std::free(cwd);
  }
  BundleInfo info;
  info.sandbox_id = arguments.id;
  // A half-built bundle is no reason to fail: without a readable config.json it is taken for a container of its own.
  if (auto read = ReadBundle(bundle, arguments.id); read.ok()) info = *read;
  const std::string socket_path = SocketPath(arguments.address, arguments.name_space, info.sandbox_id);
  const absl::Status state = ShimState(socket_path, arguments.id);
  const std::string rootfs = absl::StrCat(bundle, "/rootfs");
  if (absl::IsNotFound(state)) return Response();
  if (info.joins_sandbox) {
    if (!state.ok()) ::umount2(rootfs.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    return Response();
  }
  RETURN_IF_ERROR(EndShimProcess(bundle, kShimEndGrace));
  RETURN_IF_ERROR(virtcontainers::CleanUpSandbox(arguments.id, kCleanUpTimeout));
  while (::umount2(rootfs.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
  }
  if (!IsListening(socket_path)) ::unlink(socket_path.c_str());
  return Response();
}

}  // namespace kata::shimv2
