// SPDX-License-Identifier: Apache-2.0
// Both ends of the sessions of session_codec.h as transports. Io thread only.
#pragma once

#include <chrono>
#include <memory>

#include "proto/base/coro.h"
#include "proto/ttrpc/session_codec.h"
#include "proto/ttrpc/transport.h"

namespace kata::ttrpc {

// How long the host waits for QEMU to hang up as well.
inline constexpr std::chrono::seconds kHangUpTimeout{1};

// The host's end: a session of its own on `channel`, a socket of QEMU. It begins with the first
// byte written; what the guest wrote for an earlier session is dropped. Close() hangs up in order:
// were the socket just closed while the guest writes, QEMU (7.2) could find its write failing before
// it sees the end. It then throttles the port when it has already cleaned up after the connection,
// and no later connection hears anything from the guest.
absl::StatusOr<std::unique_ptr<Transport>> MakeHostSession(asio::any_io_executor executor,
                                                           std::unique_ptr<Transport> channel);

// The guest's end of a channel, for its whole life.
class SessionAcceptor {
 public:
  SessionAcceptor();
  // Waits on `channel` for the host to begin a session. The transport returned reads Unavailable as
  // soon as the host has begun the next one, which the next call then returns at once; `channel` is
  // another descriptor of the same port each time. One session at a time.
  Co<absl::StatusOr<std::unique_ptr<Transport>>> Accept(std::unique_ptr<Transport> channel);

 private:
  struct State {
    SessionDecoder decoder;
    bool has_new_session = false;  // seen by the reader of the one before
  };
  class Session;

  const std::shared_ptr<State> state_;
};

}  // namespace kata::ttrpc
