// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sockets/socket_relay.h"

#include <functional>
#include <utility>

#include <absl/strings/str_cat.h>
#include <boost/asio/local/stream_protocol.hpp>

#include "proto/base/fd.h"
#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/schema/agent.ttrpc.h"
#include "virtcontainers/sockets/host_socket.h"

namespace kata::virtcontainers {
namespace {

using agent::v1::TunnelMessage;

// Between two tries to connect to a server that takes no more.
constexpr std::chrono::milliseconds kConnectPause{20};
// After a connection that was closed: a guest that makes them without end costs the host little.
constexpr std::chrono::milliseconds kRefusalPause{10};

absl::Status Full() { return absl::ResourceExhaustedError(absl::StrCat("the pod has ", kSocketConnectionsMax)); }

}  // namespace

SocketRelay::SocketRelay(asio::any_io_executor executor, asio::thread_pool& pool) : executor_(executor), pool_(pool) {}

void SocketRelay::Add(std::shared_ptr<ttrpc::Connection> agent, const std::string& container_id,
                      std::vector<std::string> paths) {
  Remove(container_id);
  auto container = std::make_shared<Container>();
  container->agent = std::move(agent);
  container->id = container_id;
  containers_[container_id] = container;
  for (uint32_t i = 0; i < paths.size(); ++i) {
    Socket socket;
    socket.container = container;
    socket.index = i;
    socket.path = std::move(paths[i]);
    Spawn(executor_, "taking connections to a socket", Serve(shared_from_this(), std::move(socket)));
  }
}

void SocketRelay::End(Container& container) {
  container.is_over = true;
  for (const std::shared_ptr<TunnelStream>& stream : std::exchange(container.streams, {})) stream->Close();
}

void SocketRelay::Remove(const std::string& container_id) {
  const auto found = containers_.find(container_id);
  if (found == containers_.end()) return;
  End(*found->second);
  containers_.erase(found);
}

void SocketRelay::Stop() {
  for (auto& [id, container] : std::exchange(containers_, {})) End(*container);
}

void SocketRelay::Report(const Socket& socket, const absl::Status& why) {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_report_) {
    ++unreported_;
    return;
  }
  next_report_ = now + kSocketLogPause;
  const size_t others = std::exchange(unreported_, 0);
  log::Warn("container \"{}\": a connection to socket \"{}\" of the host was closed: {}{}", socket.container->id,
            socket.path, why.message(), others == 0 ? "" : absl::StrCat(" (and ", others, " before it)"));
}

Co<absl::Status> SocketRelay::AskForConnection(std::shared_ptr<TunnelStream> stream, Socket socket) {
  TunnelMessage request;
  request.mutable_accept()->set_container_id(socket.container->id);
  request.mutable_accept()->set_socket(socket.index);
  CO_RETURN_IF_ERROR(co_await stream->Send(request));
  auto answer = co_await stream->Receive();
  if (!answer.ok()) co_return answer.status();
  if (!answer->accepted()) co_return absl::InvalidArgumentError("the guest answered with something else");
  co_return absl::OkStatus();
}

Co<absl::Status> SocketRelay::Serve(std::shared_ptr<SocketRelay> self, Socket socket) {
  std::shared_ptr<Container> container = socket.container;
  agent::v1::AgentClient agent(container->agent);
  absl::Status status;
  while (!container->is_over) {
    auto opened = co_await agent.AcceptSocket();
    if (!opened.ok()) {
      status = opened.status();
      break;
    }
    std::shared_ptr<TunnelStream> stream = *std::move(opened);
    if (container->is_over) break;
    container->streams.insert(stream);
    status = co_await AskForConnection(stream, socket);
    if (!status.ok()) {
      container->streams.erase(stream);
      break;
    }
    auto connection = co_await self->Connect(socket);
    // While it was made, others were.
    if (connection.ok() && self->carried_ >= kSocketConnectionsMax) connection = Full();
    if (connection.ok() && !container->is_over) {
      ++self->carried_;
      Spawn(self->executor_, "carrying a connection to a socket",
            Carry(self, socket, *std::move(connection), std::move(stream)));
      continue;
    }
    container->streams.erase(stream);
    stream->Close();
    if (container->is_over) break;
    self->Report(socket, connection.status());
    co_await Sleep(kRefusalPause);
  }
  if (!container->is_over && !container->agent->is_closed())
    log::Warn("container \"{}\": no more connections to socket \"{}\" of the host: {}", container->id, socket.path,
              status.message());
  co_return absl::OkStatus();
}

Co<absl::StatusOr<std::shared_ptr<TunnelSocket>>> SocketRelay::Connect(Socket socket) {
  if (carried_ >= kSocketConnectionsMax) co_return Full();
  const auto deadline = std::chrono::steady_clock::now() + kSocketPatience;
  std::function<absl::StatusOr<std::shared_ptr<UniqueFd>>()> connect =
      [path = socket.path]() -> absl::StatusOr<std::shared_ptr<UniqueFd>> {
    ASSIGN_OR_RETURN(UniqueFd fd, ConnectToHostSocket(path));
    return std::make_shared<UniqueFd>(std::move(fd));
  };
  auto fd = co_await RunBlockingFor<std::shared_ptr<UniqueFd>>(pool_, connect);
  while (absl::IsResourceExhausted(fd.status()) && std::chrono::steady_clock::now() < deadline) {
    if (socket.container->is_over) break;
    co_await Sleep(kConnectPause);
    fd = co_await RunBlockingFor<std::shared_ptr<UniqueFd>>(pool_, connect);
  }
  if (!fd.ok()) co_return fd.status();
  auto connection = std::make_shared<TunnelSocket>(executor_);
  boost::system::error_code error;
  connection->assign(asio::local::stream_protocol(), (*fd)->get(), error);
  if (error) co_return FromErrorCode(error, "carrying a connection");
  (*fd)->release();
  co_return connection;
}

Co<absl::Status> SocketRelay::Carry(std::shared_ptr<SocketRelay> self, Socket socket,
                                    std::shared_ptr<TunnelSocket> connection, std::shared_ptr<TunnelStream> stream) {
  absl::Status ended = co_await RunTunnel(std::move(connection), stream, TunnelSide::kCaller);
  if (!ended.ok()) log::Debug("carrying a connection to socket \"{}\": {}", socket.path, ended.message());
  socket.container->streams.erase(stream);
  --self->carried_;
  co_return absl::OkStatus();
}

}  // namespace kata::virtcontainers
