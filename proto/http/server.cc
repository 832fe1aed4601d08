// SPDX-License-Identifier: Apache-2.0
#include "proto/http/server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <utility>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include "proto/base/log.h"
#include "proto/base/status.h"

namespace kata::http {
namespace {

namespace beast = boost::beast;
using Protocol = asio::generic::stream_protocol;
using Stream = beast::basic_stream<Protocol>;
using Message = beast::http::request<beast::http::string_body>;
using Response = beast::http::response<beast::http::string_body>;

// After accept has failed for want of descriptors or memory.
constexpr std::chrono::milliseconds kAcceptPause{100};
constexpr unsigned kHttp11 = 11;

int FamilyOf(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  return ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0 ? address.ss_family : AF_UNSPEC;
}

bool IsOurUser(int socket) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == ::geteuid();
}

Page ListOf(const Routes& routes) {
  Page page;
  page.status = 404;
  page.body = "there is no such page; there are:\n";
  for (const auto& [name, handler] : routes) absl::StrAppend(&page.body, name, "\n");
  return page;
}

Response ResponseOf(Page page) {
  Response response;
  response.version(kHttp11);
  response.result(page.status);
  response.set(beast::http::field::content_type, page.type);
  response.keep_alive(false);
  response.body() = std::move(page.body);
  response.prepare_payload();
  return response;
}

class ServerImpl final : public Server, public std::enable_shared_from_this<ServerImpl> {
 public:
  ServerImpl(asio::any_io_executor executor, UniqueFd listener, std::shared_ptr<const Routes> routes)
      : executor_(executor),
        routes_(std::move(routes)),
        family_(FamilyOf(listener.get())),
        listener_(executor, listener.release()) {
    listener_.non_blocking(true);
  }

  void Stop() override {
    boost::system::error_code ignored;
    listener_.close(ignored);
  }

  static Co<absl::Status> AcceptLoop(std::shared_ptr<ServerImpl> self) {
    while (self->listener_.is_open()) {
      auto [ec] = co_await self->listener_.async_wait(asio::posix::stream_descriptor::wait_read, kTuple);
      if (ec) break;
      UniqueFd fd(::accept4(self->listener_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (fd.valid()) {
        self->Take(std::move(fd));
      } else if (errno != EINTR && errno != ECONNABORTED && errno != EAGAIN) {
        co_await Sleep(kAcceptPause);
      }
    }
    co_return absl::OkStatus();
  }

 private:
  void Take(UniqueFd fd) {
    if (connections_ >= kConnectionsMax || (family_ == AF_UNIX && !IsOurUser(fd.get()))) return;
    ++connections_;
    Protocol::socket socket(executor_, Protocol(family_, 0), fd.release());
    Spawn(executor_, "answering a request", Serve(shared_from_this(), std::make_shared<Stream>(std::move(socket))));
  }

  static Co<absl::Status> Serve(std::shared_ptr<ServerImpl> self, std::shared_ptr<Stream> stream) {
    co_await Answer(self, stream);
    --self->connections_;
    co_return absl::OkStatus();
  }

  // What goes wrong with a connection is the peer's affair.
  static Co<void> Answer(std::shared_ptr<ServerImpl> self, std::shared_ptr<Stream> stream) {
    beast::flat_buffer buffer(kHeaderMax + kBodyMax);
    beast::http::request_parser<beast::http::string_body> parser;
    parser.header_limit(kHeaderMax);
    parser.body_limit(kBodyMax);
    stream->expires_after(kTimeout);
    auto [read_error, read] = co_await beast::http::async_read(*stream, buffer, parser, kTuple);
    if (read_error) co_return;
    Page page = co_await PageOf(self, parser.release());
    Response response = ResponseOf(std::move(page));
    stream->expires_after(kTimeout);
    auto [write_error, written] = co_await beast::http::async_write(*stream, response, kTuple);
    if (write_error) co_return;
    boost::system::error_code ignored;
    stream->socket().shutdown(Protocol::socket::shutdown_both, ignored);
  }

  static Co<Page> PageOf(std::shared_ptr<ServerImpl> self, Message message) {
    const std::string target(message.target());
    const size_t path_end = std::min(target.find('?'), target.size());
    const std::string name = absl::StrCat(std::string(message.method_string()), " ", target.substr(0, path_end));
    const auto route = self->routes_->find(name);
    if (route == self->routes_->end()) co_return ListOf(*self->routes_);
    Request request;
    if (path_end < target.size()) request.query = target.substr(path_end + 1);
    request.body = std::move(message.body());
    Page page;
    try {
      page = co_await route->second(std::move(request));
    } catch (const std::exception& e) {
      page.status = 500;
      page.body = absl::StrCat("unexpected exception: ", e.what(), "\n");
    }
    co_return page;
  }

  asio::any_io_executor executor_;
  const std::shared_ptr<const Routes> routes_;
  const int family_;
  asio::posix::stream_descriptor listener_;
  size_t connections_ = 0;
};

}  // namespace

std::shared_ptr<Server> Server::Start(asio::any_io_executor executor, UniqueFd listener,
                                      std::shared_ptr<const Routes> routes) {
  auto server = std::make_shared<ServerImpl>(executor, std::move(listener), std::move(routes));
  Spawn(executor, "taking requests", ServerImpl::AcceptLoop(server));
  return server;
}

}  // namespace kata::http
