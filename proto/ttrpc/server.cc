// SPDX-License-Identifier: Apache-2.0
// ServiceMap and Server (connection.h).
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/ttrpc/connection.h"

namespace kata::ttrpc {
namespace {

constexpr size_t kConnectionsMax = 256;
// After accept has failed for want of descriptors or memory.
constexpr std::chrono::milliseconds kAcceptPause{100};

template <typename Handlers>
auto FindHandler(const Handlers& handlers, const std::string& service, const std::string& method)
    -> decltype(&handlers.begin()->second.begin()->second) {
  auto methods = handlers.find(service);
  if (methods == handlers.end()) return nullptr;
  auto handler = methods->second.find(method);
  return handler == methods->second.end() ? nullptr : &handler->second;
}

class ServerImpl : public Server, public std::enable_shared_from_this<ServerImpl> {
 public:
  ServerImpl(asio::any_io_executor executor, UniqueFd listening_socket, const ServiceMap* services)
      : executor_(executor), services_(services), listener_(executor, listening_socket.release()) {
    listener_.non_blocking(true);
  }

  static Co<absl::Status> AcceptLoop(std::shared_ptr<ServerImpl> self) {
    while (self->listener_.is_open()) {
      auto [ec] = co_await self->listener_.async_wait(asio::posix::stream_descriptor::wait_read, kTuple);
      if (ec) break;
      bool is_short_of_resources = false;
      while (self->listener_.is_open()) {
        UniqueFd fd(::accept4(self->listener_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        const int error = errno;
        if (!fd.valid()) {
          if (error == EINTR || error == ECONNABORTED) continue;
          is_short_of_resources = error != EAGAIN;
          if (is_short_of_resources) log::Warn("{}", ErrnoStatus(error, "accepting a connection").message());
          break;
        }
        self->Serve(std::move(fd));
      }
      if (is_short_of_resources) co_await Sleep(kAcceptPause);
    }
    co_return absl::OkStatus();
  }

  Co<void> Stop(std::chrono::nanoseconds grace, std::chrono::nanoseconds linger) override {
    auto self = shared_from_this();
    boost::system::error_code ignored;
    listener_.close(ignored);
    std::vector<std::shared_ptr<Connection>> open;
    for (auto& weak : std::exchange(connections_, {})) {
      if (auto connection = weak.lock()) open.push_back(std::move(connection));
    }
    for (auto& connection : open) Spawn(executor_, "ttrpc shutdown", ShutDown(connection, grace, linger));
    for (auto& connection : open) static_cast<void>(co_await connection->WaitClosed());
  }

 private:
  static Co<absl::Status> ShutDown(std::shared_ptr<Connection> connection, std::chrono::nanoseconds grace,
                                   std::chrono::nanoseconds linger) {
    co_await connection->ShutDown(grace, linger);
    co_return absl::OkStatus();
  }

  void Serve(UniqueFd fd) {
    ucred peer{};
    socklen_t size = sizeof(peer);
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != ::geteuid()) {
      log::Warn("refusing a connection of uid {}: not ours", peer.uid);
      return;
    }
    // A handler that waits for long keeps its closed connection.
    std::erase_if(connections_, [](const std::weak_ptr<Connection>& weak) {
      auto connection = weak.lock();
      return connection == nullptr || connection->is_closed();
    });
    if (connections_.size() >= kConnectionsMax) {
      log::Warn("refusing a connection: {} are open", connections_.size());
      return;
    }
    connections_.push_back(Connection::Start(executor_, MakeFdTransport(executor_, std::move(fd)), services_));
  }

  const asio::any_io_executor executor_;
  const ServiceMap* const services_;
  asio::posix::stream_descriptor listener_;
  std::vector<std::weak_ptr<Connection>> connections_;
};

}  // namespace

void ServiceMap::AddUnary(std::string service, std::string method, UnaryHandler handler) {
  unary_[std::move(service)][std::move(method)] = std::move(handler);
}
void ServiceMap::AddStream(std::string service, std::string method, StreamHandler handler) {
  stream_[std::move(service)][std::move(method)] = std::move(handler);
}
const UnaryHandler* ServiceMap::FindUnary(const std::string& service, const std::string& method) const {
  return FindHandler(unary_, service, method);
}
const StreamHandler* ServiceMap::FindStream(const std::string& service, const std::string& method) const {
  return FindHandler(stream_, service, method);
}
bool ServiceMap::HasService(const std::string& service) const {
  return unary_.contains(service) || stream_.contains(service);
}

std::shared_ptr<Server> Server::Start(asio::any_io_executor executor, UniqueFd listening_socket,
                                      const ServiceMap* services) {
  auto server = std::make_shared<ServerImpl>(executor, std::move(listening_socket), services);
  Spawn(executor, "ttrpc accept", ServerImpl::AcceptLoop(server));
  return server;
}

}  // namespace kata::ttrpc
