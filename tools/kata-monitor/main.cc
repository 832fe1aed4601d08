// SPDX-License-Identifier: Apache-2.0
// kata-monitor: the pods of a node under one address, for Prometheus and for a person.
#include <arpa/inet.h>
#include <netdb.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include <absl/cleanup/cleanup.h>
#include <absl/strings/str_cat.h>
#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/base/version.h"
#include "proto/http/server.h"
#include "tools/kata-monitor/pages.h"

namespace kata::monitor {
namespace {

constexpr int kBacklog = 64;

// "127.0.0.1:8090", "[::1]:8090".
absl::StatusOr<UniqueFd> Listen(const std::string& address) {
  const std::string what = absl::StrCat("listening on \"", address, "\"");
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon + 1 == address.size())
    return absl::InvalidArgumentError(what + ": ADDRESS:PORT is needed");
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), address.c_str() + colon + 1, &hints, &found);
  if (error != 0) return absl::InvalidArgumentError(absl::StrCat(what, ": ", ::gai_strerror(error)));
  const absl::Cleanup free = [found] { ::freeaddrinfo(found); };
  UniqueFd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoStatus(errno, what);
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd.get(), kBacklog) != 0)
    return ErrnoStatus(errno, what);
  return fd;
}

absl::Status Serve(const std::string& address) {
  if (::geteuid() != 0) return absl::PermissionDeniedError("only root may ask the shims of this host");
  ASSIGN_OR_RETURN(UniqueFd listener, Listen(address));
  asio::io_context io(1);
  const std::shared_ptr<http::Server> server =
      http::Server::Start(io.get_executor(), std::move(listener), MakeRoutes());
  asio::signal_set signals(io, SIGTERM, SIGINT);
  signals.async_wait([&io](const boost::system::error_code&, int) { io.stop(); });
  log::Info("serving the pods of this host on {}", address);
  io.run();
  return absl::OkStatus();
}

}  // namespace
}  // namespace kata::monitor

int main(int argc, char** argv) {
  CLI::App app(
      "Serves the figures of all pods of this host under one address: /metrics for Prometheus, / for a person. It "
      "changes "
      "nothing, and asks the shims anew for each request.");
  app.set_version_flag("--version", "kata-monitor " + kata::BuildText());
  std::string address = "127.0.0.1:8090";
  app.add_option("--listen", address,
                 "ADDRESS:PORT, default " + address + ". Whoever reaches it sees the names and the loads of all pods");
  CLI11_PARSE(app, argc, argv);
  ::signal(SIGPIPE, SIG_IGN);
  const absl::Status status = kata::monitor::Serve(address);
  if (status.ok()) return 0;
  std::fprintf(stderr, "kata-monitor: %s\n", std::string(status.message()).c_str());
  return 1;
}
