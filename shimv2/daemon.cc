// SPDX-License-Identifier: Apache-2.0
#include "shimv2/daemon.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "proto/base/coro.h"
#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/schema/task_v2.ttrpc.h"
#include "proto/schema/task_v3.ttrpc.h"
#include "shimv2/event_publisher.h"
#include "shimv2/task_api.h"
#include "shimv2/task_service.h"

namespace kata::shimv2 {
namespace {

constexpr std::chrono::seconds kServerGrace{2};
constexpr std::chrono::seconds kEventFlushTimeout{5};
constexpr int kPoolThreads = 2;
constexpr std::chrono::seconds kForgottenPoll{5};
constexpr int kMallocArenas = 2;  // an arena per thread would cost more memory than contention costs time

// The fifo is held open by containerd; our own read end keeps a write from failing while containerd restarts.
void OpenLog(const std::string& bundle, bool debug) {
  const int fd = ::open(absl::StrCat(bundle, "/log").c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd >= 0) {
    ::dup2(fd, 2);
    log::SetSink(fd);
  }
  if (debug) log::SetLevel(log::Level::kDebug);
}

struct Daemon {
  asio::io_context io{1};
  asio::thread_pool pool{kPoolThreads};
  std::shared_ptr<EventPublisher> events;
  std::shared_ptr<TaskApi> api;
  std::shared_ptr<ttrpc::Server> server;
  std::string socket_path;
};

Co<absl::Status> ShutDown(Daemon* daemon) {
  co_await daemon->api->WaitShutDown();
  co_await daemon->api->StopSandbox();
  co_await daemon->events->Flush(kEventFlushTimeout);
  ::unlink(daemon->socket_path.c_str());
  co_await daemon->server->Stop(kServerGrace);
  daemon->io.stop();
  co_return absl::OkStatus();
}

// A `start` that is killed before its answer is out, or a caller that dies during Create or between Delete and
// Shutdown, leaves a shim that nobody knows. The bundles are removed then, and there is nothing to stay for.
Co<absl::Status> EndWhenForgotten(Daemon* daemon, std::string bundle) {
  do {
    co_await Sleep(kForgottenPoll);
  } while (daemon->api->HasTasks() || ::access(bundle.c_str(), F_OK) == 0);
  log::Info("shutting down: the bundle is gone, and no container has one");
  daemon->api->RequestShutDown();
  co_return absl::OkStatus();
}

// What the operator of a stuck pod asks for.
Co<absl::Status> LogTasksWhenAsked(Daemon* daemon) {
  asio::signal_set signals(daemon->io, SIGUSR1);
  while (true) {
    co_await signals.async_wait(kTuple);
    for (const std::string& line : daemon->api->Describe()) log::Info("{}", line);
  }
}

Co<absl::Status> HandleSignals(Daemon* daemon) {
  asio::signal_set signals(daemon->io, SIGTERM, SIGINT);
  co_await signals.async_wait(kTuple);
  log::Info("shutting down after a signal");
  daemon->api->RequestShutDown();
  co_await signals.async_wait(kTuple);
  std::_Exit(1);
}

}  // namespace

int RunDaemon(const Arguments& arguments, const std::string& bundle, const std::string& sandbox_id,
              const std::string& socket_path, UniqueFd socket, wire::Any options) {
  ::mallopt(M_ARENA_MAX, kMallocArenas);
  ::signal(SIGPIPE, SIG_IGN);
  OpenLog(bundle, arguments.debug);
  log::SetProcessFields(absl::StrCat("runtime=", "kata sandbox=", sandbox_id));
  const char* events_address = std::getenv("TTRPC_ADDRESS");

  Daemon daemon;
  daemon.socket_path = socket_path;
  daemon.events = EventPublisher::Make(daemon.io.get_executor(), events_address != nullptr ? events_address : "",
                                       arguments.name_space);
  TaskApiOptions api_options;
  api_options.name_space = arguments.name_space;
  api_options.socket_path = socket_path;
  api_options.start_options = std::move(options);
  daemon.api = TaskApi::Make(daemon.io.get_executor(), daemon.pool, daemon.events, std::move(api_options));
  TaskService<containerd::task::v2::TaskService> v2(daemon.api);
  TaskService<containerd::task::v3::TaskService> v3(daemon.api);
  ttrpc::ServiceMap services;
  v2.Register(services);
  v3.Register(services);
  daemon.server = ttrpc::Server::Start(daemon.io.get_executor(), std::move(socket), &services);
  Spawn(daemon.io.get_executor(), "handling signals", HandleSignals(&daemon));
  Spawn(daemon.io.get_executor(), "handling SIGUSR1", LogTasksWhenAsked(&daemon));
  Spawn(daemon.io.get_executor(), "shutting down", ShutDown(&daemon));
  Spawn(daemon.io.get_executor(), "watching the bundle", EndWhenForgotten(&daemon, bundle));
  log::Info("timeline: shim started");
  daemon.io.run();
  // Coroutines that still wait hold references into `daemon`; the process ends here without unwinding them.
  return 0;
}

}  // namespace kata::shimv2
