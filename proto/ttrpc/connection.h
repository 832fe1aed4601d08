// SPDX-License-Identifier: Apache-2.0
// One ttrpc peer over a Transport, in both roles: it serves the services added to its ServiceMap
// and makes calls. One reader and one writer coroutine; handlers run concurrently, one coroutine
// each. Io thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "proto/base/coro.h"
#include "proto/ttrpc/frame.h"
#include "proto/ttrpc/transport.h"

namespace kata::ttrpc {

// What a frame or message counts besides its bytes wherever many of them wait: about what keeping
// it takes, so that a bound in bytes bounds the memory of many small ones as well.
inline constexpr size_t kMessageCost = 64;
// Frames waiting to be written, with their costs, per connection. A unary answer past it closes the
// connection with ResourceExhausted; Stream::Send waits instead.
inline constexpr size_t kSendQueueBytesMax = 16u << 20;
// Calls of the peer being handled at once, per connection; one more is answered with
// RESOURCE_EXHAUSTED.
inline constexpr size_t kConcurrentCallsMax = 4096;
// Unread messages of one stream, with their costs. ttrpc has no flow control: a peer that sends more
// breaks its own stream, is told so, and the log says it. A protocol above that counts credit must
// stay below this with its smallest messages.
inline constexpr size_t kStreamQueueBytesMax = 8u << 20;

using Metadata = std::multimap<std::string, std::string>;

// The messages of one streaming call, either role. Owned by shared_ptr; dropping it ends the
// stream.
class Stream {
 public:
  virtual ~Stream() = default;
  // The next message's bytes; OutOfRange when the peer has ended its direction cleanly; otherwise
  // the call's error.
  virtual Co<absl::StatusOr<std::string>> Receive() = 0;
  // Waits while the send queue is full. Unavailable once the connection or stream is closed.
  virtual Co<absl::Status> Send(std::string message) = 0;
  // The same without a copy: the message stands behind kFrameHeaderSize bytes, which are
  // overwritten.
  virtual Co<absl::Status> SendFrame(std::string frame) = 0;
  // No more Send. For a server this happens when its handler returns.
  virtual Co<absl::Status> CloseSend() = 0;
  // Ends both directions at once: a Receive or Send under way returns, with Cancelled or Unavailable,
  // what is unread is dropped, and the peer is told. As dropping it, while others still hold it.
  // Idempotent.
  virtual void Close() = 0;
};

struct CallContext {
  Metadata metadata;
  std::chrono::nanoseconds timeout{0};  // 0 = none; the connection itself answers DEADLINE_EXCEEDED
};

using UnaryHandler = std::function<Co<absl::StatusOr<std::string>>(CallContext context, std::string payload)>;
using StreamHandler = std::function<Co<absl::Status>(CallContext context, std::shared_ptr<Stream> stream)>;

// Told of each call that has been handled: how long its handler took, and with what it ended. Of a handler that failed
// by an exception: Internal. Io thread.
using CallObserver =
    std::function<void(const std::string& method, std::chrono::nanoseconds took, absl::StatusCode code)>;

// The services of one server, shared by its connections. Filled before use (generated Register
// functions), then constant.
class ServiceMap {
 public:
  void AddUnary(std::string service, std::string method, UnaryHandler handler);
  void AddStream(std::string service, std::string method, StreamHandler handler);
  const UnaryHandler* FindUnary(const std::string& service, const std::string& method) const;
  const StreamHandler* FindStream(const std::string& service, const std::string& method) const;
  bool HasService(const std::string& service) const;
  void Observe(CallObserver observer) { observer_ = std::move(observer); }
  const CallObserver& observer() const { return observer_; }

 private:
  CallObserver observer_;
  std::map<std::string, std::map<std::string, UnaryHandler>> unary_;
  std::map<std::string, std::map<std::string, StreamHandler>> stream_;
};

class Connection {
 public:
  // Starts reading at once; lives until it closes, so the side that is done with it calls Close.
  // `services` may be null for a pure client, whose peer may not make requests: one closes the
  // connection. It must outlive the connection. A frame of the peer with more than `frame_data_max`
  // bytes of data is skipped unstored and fails its call or stream; at most kFrameDataMax.
  static std::shared_ptr<Connection> Start(asio::any_io_executor executor, std::unique_ptr<Transport> transport,
                                           const ServiceMap* services, size_t frame_data_max = kFrameDataMax);
  virtual ~Connection() = default;

  // A unary call. `timeout` > 0 is sent as timeout_nano and enforced here: DeadlineExceeded. A late
  // answer is dropped. Unavailable when the connection closes first.
  virtual Co<absl::StatusOr<std::string>> Call(std::string service, std::string method, std::string payload,
                                               std::chrono::nanoseconds timeout, Metadata metadata) = 0;
  virtual Co<absl::StatusOr<std::shared_ptr<Stream>>> OpenStream(std::string service, std::string method) = 0;

  // Closes the transport; every pending call ends with `reason`. Idempotent.
  virtual void Close(absl::Status reason) = 0;
  // Not from a handler that it waits for: spawn it. Stops taking new requests (answered
  // UNAVAILABLE), lets running handlers finish up to `grace`, flushes, gives the peer `linger` to close it, closes.
  virtual Co<void> ShutDown(std::chrono::nanoseconds grace, std::chrono::nanoseconds linger = {}) = 0;
  // Returns the reason when the connection has closed.
  virtual Co<absl::Status> WaitClosed() = 0;
  virtual bool is_closed() const = 0;
};

// Accepts on a listening unix socket until Stop(); each connection serves `services`. Only peers
// with our effective uid (SO_PEERCRED) are accepted.
class Server {
 public:
  static std::shared_ptr<Server> Start(asio::any_io_executor executor, UniqueFd listening_socket,
                                       const ServiceMap* services);
  virtual ~Server() = default;
  // Stops accepting, gives running calls `grace` to finish, and closes all connections. `linger`: for so long those
  // whose peer does not close them stay open, after the last answer: a peer of containerd's library takes an answer
  // that its connection's end follows at once for lost, now and then.
  virtual Co<void> Stop(std::chrono::nanoseconds grace, std::chrono::nanoseconds linger = {}) = 0;
};

}  // namespace kata::ttrpc
