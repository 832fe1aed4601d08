// SPDX-License-Identifier: Apache-2.0
#include "agent/network/host_sockets.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include <absl/strings/escaping.h>
#include <absl/strings/str_cat.h>
#include <boost/asio/local/stream_protocol.hpp>

#include "agent/base/errors.h"
#include "proto/base/fd.h"
#include "proto/base/log.h"

namespace kata::agent {
namespace {

using Unix = asio::local::stream_protocol;

// After an accept that failed, for want of descriptors above all.
constexpr std::chrono::milliseconds kAcceptPause{100};
// The programs of a container with a user namespace come through, and see nothing else.
constexpr mode_t kDirectoryMode = 0711;
constexpr mode_t kModeBits = 0777;

void RemoveDirectory(const std::string& directory, size_t count) {
  for (size_t i = 0; i < count; ++i) ::unlink(absl::StrCat(directory, "/", i).c_str());
  if (::rmdir(directory.c_str()) != 0 && errno != ENOENT)
    log::Warn("{}", SystemError(errno, absl::StrCat("removing \"", directory, "\"")).message());
}

}  // namespace

struct HostSockets::Listener {
  explicit Listener(asio::any_io_executor executor) : acceptor(std::move(executor)) {}
  Unix::acceptor acceptor;
  uint64_t turn = 0;  // of the call that waits; an older one gives up
};

HostSockets::HostSockets(asio::any_io_executor executor, std::string directory)
    : executor_(std::move(executor)), directory_(std::move(directory)) {}

absl::Status HostSockets::Open(const std::string& container_id,
                               const google::protobuf::RepeatedPtrField<v1::HostSocket>& sockets) {
  const std::string what = absl::StrCat("making the sockets of container \"", container_id, "\"");
  if (sockets.size() > kHostSocketsMax)
    return absl::ResourceExhaustedError(absl::StrCat(what, ": more than ", kHostSocketsMax));
  const std::string path = absl::StrCat(directory_, "/", container_id);
  RETURN_IF_ERROR(Annotate(MakeDirs(path, kDirectoryMode), what));
  // Its name may be too long for the address of a socket, so that they are made by way of a descriptor.
  const UniqueFd directory(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  absl::Status status =
      directory.valid() ? absl::OkStatus() : SystemError(errno, absl::StrCat("opening \"", path, "\""));
  std::vector<std::shared_ptr<Listener>> made;
  for (const v1::HostSocket& socket : sockets) {
    if (!status.ok()) break;
    auto listener = Listen(directory.get(), made.size(), socket);
    status = listener.status();
    if (listener.ok()) made.push_back(*std::move(listener));
  }
  if (!status.ok()) {
    RemoveDirectory(path, made.size() + 1);
    return Annotate(status, what);
  }
  listeners_[container_id] = std::move(made);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<HostSockets::Listener>> HostSockets::Listen(int directory, size_t index,
                                                                           const v1::HostSocket& socket) {
  auto listener = std::make_shared<Listener>(executor_);
  const std::string path = absl::StrCat("/proc/self/fd/", directory, "/", index);
  boost::system::error_code error;
  listener->acceptor.open(Unix(), error);
  if (!error) listener->acceptor.bind(Unix::endpoint(path), error);
  if (error) return FromErrorCode(error, "binding a socket");
  // Before anybody can connect; the owner first, since a change of owner may take bits of the mode.
  if (::lchown(path.c_str(), socket.uid(), socket.gid()) != 0 || ::chmod(path.c_str(), socket.mode() & kModeBits) != 0)
    return SystemError(errno, "giving a socket its owner and mode");
  listener->acceptor.listen(kHostSocketBacklog, error);
  if (error) return FromErrorCode(error, "listening at a socket");
  return listener;
}

void HostSockets::Close(const std::string& container_id) {
  const auto found = listeners_.find(container_id);
  if (found == listeners_.end()) return;
  boost::system::error_code ignored;
  for (const std::shared_ptr<Listener>& listener : found->second) listener->acceptor.close(ignored);
  RemoveDirectory(absl::StrCat(directory_, "/", container_id), found->second.size());
  listeners_.erase(found);
}

absl::StatusOr<std::shared_ptr<HostSockets::Listener>> HostSockets::Find(
    const v1::TunnelMessage::Accept& wanted) const {
  const auto found = listeners_.find(wanted.container_id());
  if (found == listeners_.end() || wanted.socket() >= found->second.size()) {
    return absl::NotFoundError(absl::StrCat("socket ", wanted.socket(), " of container \"",
                                            absl::CEscape(wanted.container_id()), "\": not found"));
  }
  return found->second[wanted.socket()];
}

Co<absl::StatusOr<std::shared_ptr<TunnelSocket>>> HostSockets::Accept(std::shared_ptr<Listener> listener) {
  const uint64_t turn = ++listener->turn;
  boost::system::error_code ignored;
  listener->acceptor.cancel(ignored);
  while (listener->turn == turn && listener->acceptor.is_open()) {
    Unix::socket socket(listener->acceptor.get_executor());
    auto [error] = co_await listener->acceptor.async_accept(socket, kTuple);
    if (!error) co_return std::make_shared<TunnelSocket>(std::move(socket));
    if (error != asio::error::operation_aborted) co_await Sleep(kAcceptPause);
  }
  co_return absl::CancelledError("waiting for a connection to a socket: it is gone, or another call waits");
}

Co<absl::Status> HostSockets::Serve(std::shared_ptr<TunnelStream> stream) {
  CO_ASSIGN_OR_RETURN(v1::TunnelMessage first, co_await stream->Receive());
  if (!first.has_accept()) co_return absl::InvalidArgumentError("accepting: the first message does not say where");
  CO_ASSIGN_OR_RETURN(std::shared_ptr<Listener> listener, Find(first.accept()));
  CO_ASSIGN_OR_RETURN(std::shared_ptr<TunnelSocket> socket, co_await Accept(std::move(listener)));
  v1::TunnelMessage accepted;
  accepted.set_accepted(true);
  CO_RETURN_IF_ERROR(co_await stream->Send(accepted));
  co_return co_await RunTunnel(std::move(socket), std::move(stream), TunnelSide::kAnswerer);
}

}  // namespace kata::agent
