// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bootstrap/daemon.h"

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
#include "proto/base/timeline.h"
#include "shimv2/management/management.h"
#include "shimv2/sandbox/sandbox_service.h"
#include "shimv2/task/event_publisher.h"
#include "shimv2/task/task_service.h"

namespace kata::shimv2 {
namespace {

constexpr std::chrono::seconds kServerGrace{2};
constexpr std::chrono::seconds kEventFlushTimeout{5};
// After ShutdownSandbox, whose caller closes its connection when it has the answer, and takes a lost one for an error.
// (After the Task service's Shutdown it waits for the shim to close it, and takes none for an answer.)
constexpr std::chrono::seconds kServerLinger{1};
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
  std::shared_ptr<PodSandbox> pod;
  std::shared_ptr<TaskService> tasks;
  std::shared_ptr<SandboxService> sandboxes;
  std::shared_ptr<ttrpc::Server> server;
  CallTimes calls;
  std::shared_ptr<Management> management;
  std::string socket_path;
  bool lingers = false;
};

Co<absl::Status> ShutDown(Daemon* daemon) {
  co_await daemon->tasks->WaitShutDown();
  co_await daemon->pod->End();
  // Once nothing of the sandbox is left that a start of the same id could meet, and before events are waited for: a
  // start that joins meanwhile would join a shim that is going. Those who are connected stay so.
  ::unlink(daemon->socket_path.c_str());
  co_await daemon->events->Flush(kEventFlushTimeout);
  std::chrono::nanoseconds linger(0);
  if (daemon->lingers) linger = kServerLinger;
  co_await daemon->server->Stop(kServerGrace, linger);
  daemon->io.stop();
  co_return absl::OkStatus();
}

// A `start` that is killed before its answer is out, or a caller that dies during Create or between Delete and
// Shutdown, leaves a shim that nobody knows. The bundles are removed then, and there is nothing to stay for.
Co<absl::Status> EndWhenForgotten(Daemon* daemon, std::string bundle) {
  do {
    co_await Sleep(kForgottenPoll);
  } while (daemon->tasks->HasTasks() || ::access(bundle.c_str(), F_OK) == 0);
  log::Info("shutting down: the bundle is gone, and no container has one");
  daemon->tasks->RequestShutDown();
  co_return absl::OkStatus();
}

// What the operator of a stuck pod asks for.
Co<absl::Status> LogTasksWhenAsked(Daemon* daemon) {
  asio::signal_set signals(daemon->io, SIGUSR1);
  while (true) {
    co_await signals.async_wait(kTuple);
    for (const std::string& line : daemon->tasks->Describe()) log::Info("{}", line);
  }
}

Co<absl::Status> HandleSignals(Daemon* daemon) {
  asio::signal_set signals(daemon->io, SIGTERM, SIGINT);
  co_await signals.async_wait(kTuple);
  log::Info("shutting down after a signal");
  daemon->tasks->RequestShutDown();
  co_await signals.async_wait(kTuple);
  std::_Exit(1);
}

std::shared_ptr<const PodView> ViewOf(Daemon& daemon, const Arguments& arguments) {
  auto view = std::make_shared<PodView>();
  view->pool = &daemon.pool;
  view->calls = &daemon.calls;
  view->pod = daemon.pod;
  view->tasks = daemon.tasks;
  view->guest = std::make_shared<GuestAsker>(daemon.io.get_executor(), daemon.pod);
  view->execs = std::make_shared<ManagementExecs>(daemon.io.get_executor(), daemon.tasks);
  view->name_space = arguments.name_space;
  view->socket_path = daemon.socket_path;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  view->started_at_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
  return view;
}

}  // namespace

int RunDaemon(const Arguments& arguments, const std::string& bundle, const std::string& sandbox_id,
              const std::string& socket_path, UniqueFd socket, wire::Any options) {
  ::mallopt(M_ARENA_MAX, kMallocArenas);
  ::signal(SIGPIPE, SIG_IGN);
  OpenLog(bundle, arguments.debug);
  log::WillKeep();
  log::SetProcessFields(absl::StrCat("runtime=", "kata sandbox=", sandbox_id));
  const char* events_address = std::getenv("TTRPC_ADDRESS");

  Daemon daemon;
  daemon.socket_path = socket_path;
  daemon.events = EventPublisher::Make(daemon.io.get_executor(), events_address != nullptr ? events_address : "",
                                       arguments.name_space);
  asio::any_io_executor executor = daemon.io.get_executor();
  PodOptions pod;
  pod.socket_path = socket_path;
  pod.start_options = std::move(options);
  SandboxMaker make = [executor, &daemon](virtcontainers::SandboxOptions sandbox) {
    daemon.management->Open(sandbox.id);
    return virtcontainers::Sandbox::Make(executor, daemon.pool, std::move(sandbox));
  };
  daemon.pod = std::make_shared<PodSandbox>(executor, daemon.pool, std::move(pod), std::move(make));
  daemon.tasks = std::make_shared<TaskService>(executor, daemon.pool, daemon.events, daemon.pod, arguments.name_space);
  SandboxServiceOptions sandbox;
  sandbox.sandbox_id = sandbox_id;
  sandbox.shut_down = [&daemon] {
    daemon.lingers = true;
    daemon.tasks->RequestShutDown();
  };
  daemon.sandboxes = std::make_shared<SandboxService>(executor, daemon.pool, daemon.pod, std::move(sandbox));
  daemon.management = std::make_shared<Management>(executor, ViewOf(daemon, arguments));
  ttrpc::ServiceMap services;
  services.Observe([&daemon](const std::string& method, std::chrono::nanoseconds took, absl::StatusCode code) {
    daemon.calls.Add(method, took, code);
  });
  daemon.tasks->Register(services);
  daemon.tasks->Register(services, kTaskServiceV3);
  daemon.sandboxes->Register(services);
  daemon.server = ttrpc::Server::Start(daemon.io.get_executor(), std::move(socket), &services);
  Spawn(daemon.io.get_executor(), "handling signals", HandleSignals(&daemon));
  Spawn(daemon.io.get_executor(), "handling SIGUSR1", LogTasksWhenAsked(&daemon));
  Spawn(daemon.io.get_executor(), "shutting down", ShutDown(&daemon));
  Spawn(daemon.io.get_executor(), "watching the bundle", EndWhenForgotten(&daemon, bundle));
  timeline::Step("shim started");
  daemon.io.run();
  // Coroutines that still wait hold references into `daemon`; the process ends here without unwinding them.
  return 0;
}

}  // namespace kata::shimv2
