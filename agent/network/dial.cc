// SPDX-License-Identifier: Apache-2.0
#include "agent/network/dial.h"

#include <array>
#include <cstdint>
#include <utility>

#include <absl/strings/str_cat.h>
#include <boost/asio/ip/tcp.hpp>

namespace kata::agent {
namespace {

using asio::ip::tcp;

}  // namespace

Co<absl::StatusOr<std::shared_ptr<TunnelSocket>>> DialLoopback(asio::any_io_executor executor,
                                                               v1::TunnelMessage::Open open) {
  if (open.port() == 0 || open.port() > UINT16_MAX)
    co_return absl::InvalidArgumentError(absl::StrCat("dialling port ", open.port(), ": there is none of this number"));
  std::array<asio::ip::address, 2> addresses = {asio::ip::address_v4::loopback(), asio::ip::address_v6::loopback()};
  if (open.is_ipv6()) std::swap(addresses[0], addresses[1]);
  boost::system::error_code first;
  for (const asio::ip::address& address : addresses) {
    tcp::socket socket(executor);
    const tcp::endpoint server(address, static_cast<uint16_t>(open.port()));
    auto [error] = co_await socket.async_connect(server, kTuple);
    if (!error) {
      boost::system::error_code ignored;
      socket.set_option(tcp::no_delay(true), ignored);
      co_return std::make_shared<TunnelSocket>(std::move(socket));
    }
    if (!first) first = error;
  }
  co_return absl::UnavailableError(
      absl::StrCat("connecting to port ", open.port(), " of the pod's loopback: ", first.message()));
}

}  // namespace kata::agent
