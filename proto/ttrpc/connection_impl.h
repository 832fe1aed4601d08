// SPDX-License-Identifier: Apache-2.0
// The inside of connection.h, shared by connection.cc (loops, client role), server_role.cc and
// stream.cc; nobody else includes it. The loops keep the connection alive until it closes. Both
// roles use odd stream ids, so data frames belong to the server role when the connection has
// services and to the client role otherwise.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>

#include "proto/base/coro.h"
#include "proto/ttrpc/connection.h"
#include "proto/ttrpc/frame.h"
#include "proto/ttrpc/send_queue.h"
#include "proto/ttrpc/transport.h"

namespace kata::ttrpc {

using Clock = std::chrono::steady_clock;

// Timeouts of peers are cut to this, far from overflow of the clock.
inline constexpr std::chrono::nanoseconds kTimeoutMax = std::chrono::hours(24 * 365);
// Status texts, both ways.
inline constexpr size_t kStatusTextMax = 4096;

class ConnectionImpl;

class StreamImpl : public Stream {
 public:
  enum class Role { kClient, kServer };
  StreamImpl(std::shared_ptr<ConnectionImpl> connection, uint32_t id, Role role);
  ~StreamImpl() override;

  Co<absl::StatusOr<std::string>> Receive() override;
  Co<absl::Status> Send(std::string message) override;
  Co<absl::Status> SendFrame(std::string frame) override;
  Co<absl::Status> CloseSend() override;
  void Close() override;

  // For the connection: a message, the end of the peer's direction, and the end of the stream.
  absl::Status Push(std::string message);
  void PushEnd();
  void Fail(absl::Status error);
  // The same, and the peer is told that this side ends it.
  void Break(absl::Status error);
  // No more sending; a client's stream that its server has ended.
  void EndSend() { send_closed_ = true; }
  bool remote_closed() const { return remote_closed_; }

 private:
  absl::Status SendState() const;
  void TellEnd();

  const std::shared_ptr<ConnectionImpl> connection_;
  const uint32_t id_;
  const Role role_;
  asio::steady_timer changed_;
  std::deque<std::string> inbox_;
  size_t inbox_bytes_ = 0;  // with the messages' costs
  bool remote_closed_ = false;
  bool send_closed_ = false;
  absl::Status error_;
};

class ConnectionImpl : public Connection, public std::enable_shared_from_this<ConnectionImpl> {
 public:
  ConnectionImpl(asio::any_io_executor executor, std::unique_ptr<Transport> transport, const ServiceMap* services,
                 size_t frame_data_max);

  void StartLoops();
  Co<absl::StatusOr<std::string>> Call(std::string service, std::string method, std::string payload,
                                       std::chrono::nanoseconds timeout, Metadata metadata) override;
  Co<absl::StatusOr<std::shared_ptr<Stream>>> OpenStream(std::string service, std::string method) override;
  void Close(absl::Status reason) override;
  Co<void> ShutDown(std::chrono::nanoseconds grace, std::chrono::nanoseconds linger) override;
  Co<absl::Status> WaitClosed() override;

  // For StreamImpl.
  const asio::any_io_executor& executor() const { return executor_; }
  bool is_closed() const override { return closed_.is_set(); }
  const absl::Status& close_reason() const { return close_reason_; }
  // Waits until `size` more bytes fit into the send queue; the reason when closed, DeadlineExceeded
  // after `until`.
  Co<absl::Status> WaitForSpace(size_t size, Clock::time_point until);
  bool HasSpace(size_t size) const;
  void Enqueue(uint32_t stream_id, std::string frame);
  void ForgetClientStream(uint32_t id) { client_streams_.erase(id); }
  void Wake();
  // Until the next Wake() or `until`; waiters then look again.
  Co<void> WaitForChange(Clock::time_point until);

 private:
  struct PendingCall {
    explicit PendingCall(asio::any_io_executor executor) : done(std::move(executor)) {}
    Latch done;
    absl::StatusOr<std::string> result = absl::UnknownError("no answer yet");
  };
  // A call of the peer: `answered` once its last frame is queued; it stays in the table until its
  // handler returns.
  struct ServerCall {
    explicit ServerCall(const asio::any_io_executor& executor) : deadline(executor) {}
    bool answered = false;
    asio::steady_timer deadline;
    std::weak_ptr<StreamImpl> stream;
    bool is_stream = false;
  };

  // connection.cc
  static Co<absl::Status> ReadLoop(std::shared_ptr<ConnectionImpl> self);
  static Co<absl::Status> WriteLoop(std::shared_ptr<ConnectionImpl> self);
  void HandleFrame(Frame frame);
  void HandleOversized(const Frame& frame);
  void HandleResponse(Frame frame);
  void HandleClientData(Frame frame);
  absl::StatusOr<uint32_t> TakeStreamId();
  void FinishClient(uint32_t id, absl::StatusOr<std::string> result);
  void BreakClientStream(uint32_t id, const absl::Status& error);

  // server_role.cc
  void HandleRequest(Frame frame);
  void HandleServerData(Frame frame);
  void StartCall(Frame frame);
  void StartDeadline(uint32_t id, const std::shared_ptr<ServerCall>& call, std::chrono::nanoseconds timeout);
  void Answer(uint32_t id, const absl::Status& status, std::string payload);
  void AnswerCall(uint32_t id, ServerCall& call, const absl::Status& status, std::string payload);
  void BreakServerStream(uint32_t id, const absl::Status& error);
  void EndCall(uint32_t id);
  static Co<absl::Status> RunUnary(std::shared_ptr<ConnectionImpl> self, uint32_t id, const UnaryHandler* handler,
                                   CallContext context, std::string method, std::string payload);
  static Co<absl::Status> RunStream(std::shared_ptr<ConnectionImpl> self, uint32_t id, const StreamHandler* handler,
                                    CallContext context, std::shared_ptr<StreamImpl> stream);

  const asio::any_io_executor executor_;
  const std::unique_ptr<Transport> transport_;
  const ServiceMap* const services_;
  const size_t frame_data_max_;

  SendQueue queue_;
  size_t queued_bytes_ = 0;  // with their costs, and with those being written
  asio::steady_timer queue_filled_;
  std::shared_ptr<Latch> changed_;  // space in the queue, an ended call; null when nobody waits

  uint32_t next_id_ = 1;
  std::unordered_map<uint32_t, std::shared_ptr<PendingCall>> pending_;
  std::unordered_map<uint32_t, StreamImpl*> client_streams_;

  uint32_t last_peer_id_ = 0;
  std::unordered_map<uint32_t, std::shared_ptr<ServerCall>> server_calls_;
  bool is_stopping_ = false;

  absl::Status close_reason_;
  Latch closed_;
};

// `text` cut to kStatusTextMax, with '?' for bytes that are not UTF-8: other implementations refuse
// to decode them.
std::string CleanText(std::string_view text);

}  // namespace kata::ttrpc
