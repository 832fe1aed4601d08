// SPDX-License-Identifier: Apache-2.0
// Both ends of the sessions of session_codec.h as transports. Io thread only.
#pragma once

#include <memory>

#include "proto/base/coro.h"
#include "proto/ttrpc/session_codec.h"
#include "proto/ttrpc/transport.h"

namespace kata::ttrpc {

// The host's end: a session of its own on `channel`. It begins with the first byte written; what
// the guest wrote for an earlier session is dropped.
absl::StatusOr<std::unique_ptr<Transport>> MakeHostSession(std::unique_ptr<Transport> channel);

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
