// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bootstrap/delete.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include <boost/asio/io_context.hpp>

#include "proto/base/coro.h"
#include "proto/base/status.h"
#include "proto/schema/task.ttrpc.h"
#include "shimv2/bootstrap/shim_process.h"
#include "shimv2/bootstrap/socket_address.h"
#include "shimv2/pod/bundle.h"
#include "shimv2/pod/pod_sandbox.h"
#include "virtcontainers/sandbox.h"

namespace kata::shimv2 {
namespace {

// containerd gives it 5 s and kills it then: all waits together stay below.
constexpr std::chrono::milliseconds kDeleteTimeout{4500};
constexpr std::chrono::milliseconds kStateTimeout{1000};  // a live shim answers State from memory
constexpr std::chrono::milliseconds kShimEndGrace{1000};  // a shim that is shutting down is let finish
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
  auto connected = ttrpc::ConnectUnix(socket_path);
  // A missing socket file is no word of a shim about its container.
  if (!connected.ok()) return absl::UnavailableError(connected.status().message());
  UniqueFd fd = std::move(*connected);
  asio::io_context io{1};
  auto answer = std::make_shared<absl::Status>(absl::UnavailableError("no answer"));
  auto connection =
      ttrpc::Connection::Start(io.get_executor(), ttrpc::MakeFdTransport(io.get_executor(), std::move(fd)), nullptr);
  Spawn(io.get_executor(), "asking the shim", AskState(connection, id, answer));
  io.run_for(kStateTimeout);
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
  const auto until = std::chrono::steady_clock::now() + kDeleteTimeout;
  std::string bundle = arguments.bundle;
  if (bundle.empty()) {
    char* cwd = ::get_current_dir_name();
    bundle = cwd != nullptr ? cwd : "/nonexistent";
    std::free(cwd);
  }
  BundleInfo info = BundleOfSandbox(arguments.id);
  // A half-built bundle is no reason to fail: without a readable config.json it is taken for a container of its own.
  if (auto read = ReadBundle(bundle, arguments.id); read.ok()) info = *read;
  std::string socket_path = RecordedSocketPath(bundle);
  if (socket_path.empty()) socket_path = SocketPath("", arguments.address, arguments.name_space, info.group);
  const absl::Status state = ShimState(socket_path, arguments.id);
  if (absl::IsNotFound(state)) return Response();
  // The machine belongs to the sandbox, or to a group whose shim answers: not to be ended over one container.
  if (info.joins_sandbox || (info.may_join && state.ok())) return Response();
  RETURN_IF_ERROR(EndShimProcess(bundle, kShimEndGrace));
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
  RETURN_IF_ERROR(virtcontainers::CleanUpSandbox(SandboxName(info.sandbox_id, socket_path),
                                                 std::max(left, std::chrono::milliseconds(0))));
  RemoveStaleSocket(socket_path);
  return Response();
}

}  // namespace kata::shimv2
