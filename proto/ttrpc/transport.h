// SPDX-License-Identifier: Apache-2.0
// A byte stream that a ttrpc connection runs over: unix socket, vsock, virtio-serial port, or a
// script in tests.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "proto/base/coro.h"
#include "proto/base/fd.h"

namespace kata::ttrpc {

// At most one read and one write are outstanding at a time. Io thread only.
class Transport {
 public:
  virtual ~Transport() = default;
  // Bytes read, at least 1. Unavailable at end of stream or when the peer is gone.
  virtual Co<absl::StatusOr<size_t>> ReadSome(std::span<char> buffer) = 0;
  virtual Co<absl::Status> WriteAll(std::string_view data) = 0;
  // The peer reads the end of the stream; reading goes on. Does nothing where there is no such thing.
  virtual void CloseWrite() {}
  // Ends both directions; outstanding operations return Cancelled or Unavailable. Idempotent.
  virtual void Close() = 0;
};

// Takes a connected stream socket or another pollable descriptor (pipe, tty, virtio port) and makes
// it non-blocking.
std::unique_ptr<Transport> MakeFdTransport(asio::any_io_executor executor, UniqueFd fd);

// Connects to a unix stream socket. `path` starting with '\0' or without '/' is an abstract name.
absl::StatusOr<UniqueFd> ConnectUnix(const std::string& path);

}  // namespace kata::ttrpc
