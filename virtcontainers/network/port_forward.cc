// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/network/port_forward.h"

#include <chrono>
#include <functional>
#include <utility>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/schema/agent.ttrpc.h"
#include "proto/tunnel/tunnel.h"

namespace kata::virtcontainers {
namespace {

using asio::ip::tcp;

// After an accept that failed, for want of descriptors above all.
constexpr std::chrono::milliseconds kAcceptPause{100};

}  // namespace

PortForward::PortForward(asio::any_io_executor executor)
    : executor_(executor), one_ended_(std::make_shared<Latch>(executor)) {}

Co<absl::Status> PortForward::Start(asio::thread_pool& pool, std::shared_ptr<const NetworkNamespace> place,
                                    std::shared_ptr<ttrpc::Connection> agent) {
  auto self = shared_from_this();
  agent_ = std::move(agent);
  auto entry = std::make_shared<LocalhostEntry>();
  std::function<absl::Status()> open = [place, entry]() -> absl::Status {
    ASSIGN_OR_RETURN(*entry, OpenLocalhostEntry(*place));
    return absl::OkStatus();
  };
  absl::Status opened = co_await RunBlocking(pool, std::move(open));
  if (!opened.ok() || is_over_) co_return opened;
  program_ = std::move(entry->program);
  absl::Status status = Open(tcp::v4(), std::move(entry->ipv4));
  if (status.ok() && entry->ipv6.valid()) status = Open(tcp::v6(), std::move(entry->ipv6));
  if (!status.ok()) Stop();
  co_return status;
}

absl::Status PortForward::Open(const tcp& family, UniqueFd fd) {
  auto acceptor = std::make_shared<Acceptor>(executor_);
  boost::system::error_code error;
  acceptor->assign(family, fd.get(), error);
  if (error) return FromErrorCode(error, "taking connections to the pod's loopback");
  fd.release();
  acceptors_.push_back(acceptor);
  Spawn(executor_, "taking connections to the pod's loopback", Accept(shared_from_this(), acceptor));
  return absl::OkStatus();
}

void PortForward::Stop() {
  is_over_ = true;
  program_.reset();
  boost::system::error_code ignored;
  for (const std::shared_ptr<Acceptor>& acceptor : acceptors_) acceptor->close(ignored);
  one_ended_->Set();
}

Co<absl::Status> PortForward::Accept(std::shared_ptr<PortForward> self, std::shared_ptr<Acceptor> acceptor) {
  while (!self->is_over_) {
    if (self->carried_ >= kForwardedMax) {
      std::shared_ptr<Latch> ended = self->one_ended_;
      co_await ended->Wait();
      continue;
    }
    tcp::socket client(self->executor_);
    auto [error] = co_await acceptor->async_accept(client, kTuple);
    if (self->is_over_) break;
    if (error) {
      co_await Sleep(kAcceptPause);
      continue;
    }
    ++self->carried_;
    Spawn(self->executor_, "carrying a connection to the guest", Carry(self, std::move(client)));
  }
  co_return absl::OkStatus();
}

Co<absl::Status> PortForward::Carry(std::shared_ptr<PortForward> self, tcp::socket client) {
  boost::system::error_code error;
  const tcp::endpoint wanted = client.local_endpoint(error);
  client.set_option(tcp::no_delay(true), error);
  auto socket = std::make_shared<TunnelSocket>(std::move(client));
  agent::v1::AgentClient agent(self->agent_);
  auto stream = co_await agent.Dial();
  absl::Status status = stream.status();
  if (status.ok()) {
    agent::v1::TunnelMessage open;
    open.mutable_open()->set_port(wanted.port());
    open.mutable_open()->set_is_ipv6(wanted.address().is_v6());
    status = co_await (*stream)->Send(open);
    if (status.ok()) status = co_await RunTunnel(socket, *stream, TunnelSide::kCaller);
  }
  if (!status.ok()) log::Debug("carrying a connection to port {} of the guest: {}", wanted.port(), status.message());
  --self->carried_;
  std::exchange(self->one_ended_, std::make_shared<Latch>(self->executor_))->Set();
  co_return absl::OkStatus();
}

}  // namespace kata::virtcontainers
