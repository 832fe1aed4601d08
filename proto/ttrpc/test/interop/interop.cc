// SPDX-License-Identifier: Apache-2.0
// The C++ side of the interoperability test: `interop server SOCKET` serves until killed, `interop
// client SOCKET` calls the Go server and exits with 0 when every answer was right.
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdio>
#include <cstring>
#include <string>

#include <absl/strings/str_cat.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "proto/base/status.h"
#include "proto/ttrpc/test/echo_service.h"

namespace kata::ttrpc {
namespace {

constexpr std::chrono::seconds kLong{20};
constexpr int kCallCount = 50;

absl::StatusOr<UniqueFd> Listen(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return absl::InvalidArgumentError("socket path too long");
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    return ErrnoStatus(errno, "binding the socket");
  }
  if (::listen(fd.get(), 16) != 0) return ErrnoStatus(errno, "listening");
  return fd;
}

test::EchoRequest MakeRequest(std::string text, uint32_t delay_ms, int code) {
  test::EchoRequest request;
  request.set_text(std::move(text));
  request.set_delay_ms(delay_ms);
  request.set_code(code);
  return request;
}

Co<absl::Status> ExpectText(std::shared_ptr<Connection> connection, std::string text) {
  test::EchoClient echo(connection);
  auto reply = co_await echo.Say(MakeRequest(text, 1, 0), kLong);
  if (!reply.ok()) co_return reply.status();
  if (reply->text() != text) co_return absl::DataLossError("another text came back");
  co_return absl::OkStatus();
}

Co<absl::Status> CountedCall(std::shared_ptr<Connection> connection, int i, int* good, int* done) {
  absl::Status status = co_await ExpectText(connection, absl::StrCat("call ", i));
  if (status.ok()) ++*good;
  ++*done;
  co_return status;
}

Co<absl::Status> Check(std::shared_ptr<Connection> connection) {
  auto executor = co_await asio::this_coro::executor;
  int good = 0;
  int done = 0;
  for (int i = 0; i < kCallCount; ++i) Spawn(executor, "call", CountedCall(connection, i, &good, &done));
  while (done < kCallCount) co_await Sleep(std::chrono::milliseconds(2));
  if (good != kCallCount) co_return absl::InternalError("concurrent calls failed");
  CO_RETURN_IF_ERROR(co_await ExpectText(connection, std::string(1u << 20, 'm')));

  test::EchoClient echo(connection);
  auto refused = co_await echo.Say(MakeRequest("no such thing", 0, 5), kLong);
  if (refused.status() != absl::NotFoundError("no such thing")) {
    co_return absl::InternalError(absl::StrCat("status: ", refused.status().ToString()));
  }
  auto late = co_await echo.Say(MakeRequest("slow", 1000, 0), std::chrono::milliseconds(50));
  if (!absl::IsDeadlineExceeded(late.status())) co_return absl::InternalError("a late call did not time out");
  auto unknown = co_await connection->Call("kata.test.Echo", "Shout", std::string(), kLong, Metadata());
  if (!absl::IsUnimplemented(unknown.status())) co_return absl::InternalError("an unknown method was not refused");
  co_return co_await ExpectText(connection, "still alive");
}

Co<absl::Status> CheckThenClose(std::shared_ptr<Connection> connection, int* exit_code) {
  absl::Status status = co_await Check(connection);
  if (status.ok()) *exit_code = 0;
  connection->Close(absl::CancelledError("done"));
  co_return status;
}

int Run(const std::string& role, const std::string& path) {
  asio::io_context io{1};
  EchoServiceFake service;
  ServiceMap services;
  service.Register(services);
  auto socket = role == "server" ? Listen(path) : ConnectUnix(path);
  if (!socket.ok()) {
    std::fprintf(stderr, "%s\n", socket.status().ToString().c_str());
    return 1;
  }
  int exit_code = 1;
  std::shared_ptr<Server> server;
  if (role == "server") {
    server = Server::Start(io.get_executor(), *std::move(socket), &services);
  } else {
    auto transport = MakeFdTransport(io.get_executor(), *std::move(socket));
    auto connection = Connection::Start(io.get_executor(), std::move(transport), nullptr);
    Spawn(io.get_executor(), "interop client", CheckThenClose(connection, &exit_code));
  }
  io.run();
  return exit_code;
}

}  // namespace
}  // namespace kata::ttrpc

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: interop server|client SOCKET\n");
    return 2;
  }
  return kata::ttrpc::Run(argv[1], argv[2]);
}
