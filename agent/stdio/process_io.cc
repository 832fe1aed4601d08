// SPDX-License-Identifier: Apache-2.0
#include "agent/stdio/process_io.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include <boost/asio/post.hpp>

#include "agent/base/errors.h"
#include "agent/stdio/terminal.h"
#include "proto/base/stdio_queue.h"

namespace kata::agent {
namespace {

using Descriptor = asio::posix::stream_descriptor;

// Where output is read to, one read at a time: a message's own buffer would be cleared before each.
std::array<char, kStdioChunkMax> read_buffer;

// After a chunk of this size the others of this thread get their turn.
constexpr size_t kLongChunk = 16u << 10;
// With less room than that output waits for credit that is on its way: small reads would use it up for small messages.
constexpr size_t kReadMin = 4u << 10;

// While somebody types at a terminal, what other processes have under way is kept small: an echo
// waits behind all of it in the queues between guest and client.
using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kTypingLasts{2};
constexpr size_t kWindowWhileTyping = 32u << 10;
constexpr size_t kChunkWhileTyping = 16u << 10;
Clock::time_point last_typed = Clock::now() - kTypingLasts;  // at any terminal; io thread only

v1::StdioMessage EndMessage(int channel) {
  v1::StdioMessage message;
  message.set_end(static_cast<v1::StdioMessage::Channel>(channel));
  return message;
}

v1::StdioMessage CreditMessage(size_t bytes) {
  v1::StdioMessage message;
  message.mutable_credit()->set_channel(v1::StdioMessage::STDIN);
  message.mutable_credit()->set_bytes(static_cast<uint32_t>(bytes));
  return message;
}

}  // namespace

// One Stdio call. `changed` is replaced whenever it fires: it wakes the loops after credit, input
// or the end.
struct ProcessIo::Session {
  explicit Session(asio::any_io_executor ex) : executor(std::move(ex)), finished(executor) {
    changed = std::make_shared<Latch>(executor);
  }
  void Wake() { std::exchange(changed, std::make_shared<Latch>(executor))->Set(); }

  asio::any_io_executor executor;
  std::shared_ptr<StdioStream> stream;
  std::array<size_t, 3> credit = {0, kStdioCreditInitial, kStdioCreditInitial};
  StdioQueue input;              // bounded by the host's credit
  size_t input_outstanding = 0;  // credit of what was received that is not given back yet
  size_t input_owed = 0;         // the part of it that may be
  bool input_has_ended = false;
  int ended_outputs = 0;
  bool is_closed = false;
  absl::Status result;
  std::shared_ptr<Latch> changed;
  Latch finished;
};

ProcessIo::ProcessIo(asio::any_io_executor executor) : executor_(std::move(executor)) {
  for (Output& output : outputs_) output.has_ended = true;
}

std::unique_ptr<Descriptor> ProcessIo::Wrap(UniqueFd fd) {
  ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
  return std::make_unique<Descriptor>(executor_, fd.release());
}

absl::Status ProcessIo::MakePipes(bool has_stdin, bool has_stdout, bool has_stderr,
                                  std::array<UniqueFd, 3>& child_ends) {
  const bool wanted[3] = {has_stdin, has_stdout, has_stderr};
  for (size_t i = 0; i < 3; ++i) {
    if (!wanted[i]) continue;
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return SystemError(errno, "making a pipe");
    if (i == 0) {
      child_ends[i].reset(ends[0]);
      stdin_ = Wrap(UniqueFd(ends[1]));
    } else {
      child_ends[i].reset(ends[1]);
      outputs_[i].fd = Wrap(UniqueFd(ends[0]));
      outputs_[i].has_ended = false;
    }
  }
  return absl::OkStatus();
}

void ProcessIo::SetTerminal(UniqueFd master) {
  terminal_ = Wrap(std::move(master));
  outputs_[v1::StdioMessage::STDOUT].has_ended = false;
}

absl::Status ProcessIo::Resize(unsigned width, unsigned height) {
  if (terminal_ == nullptr) return absl::FailedPreconditionError("resizing: the process has no terminal");
  return SetTerminalSize(terminal_->native_handle(), width, height);
}

Descriptor* ProcessIo::OutputFd(int channel) {
  return terminal_ != nullptr ? terminal_.get() : outputs_[static_cast<size_t>(channel)].fd.get();
}

void ProcessIo::ProcessExited() {
  has_exited_ = true;
  boost::system::error_code ignored;
  // Wakes the readers, which then drain without waiting, and a writer whose reader is gone.
  if (terminal_ != nullptr) terminal_->cancel(ignored);
  if (stdin_ != nullptr) stdin_->cancel(ignored);
  for (Output& output : outputs_) {
    if (output.fd != nullptr) output.fd->cancel(ignored);
  }
  if (session_ != nullptr) FinishIfDone(*session_);
}

void ProcessIo::CloseStdin() {
  // A terminal stays open: it is the output as well.
  stdin_.reset();
}

void ProcessIo::EndSession(Session& session) {
  if (session.is_closed) return;
  session.is_closed = true;
  session.Wake();
  session.finished.Set();
  boost::system::error_code ignored;
  if (terminal_ != nullptr) terminal_->cancel(ignored);
  if (stdin_ != nullptr) stdin_->cancel(ignored);
  for (Output& output : outputs_) {
    if (output.fd != nullptr) output.fd->cancel(ignored);
  }
}

// A process that has closed its outputs may still read.
void ProcessIo::FinishIfDone(Session& session) {
  if (session.ended_outputs == 2 && (has_exited_ || stdin_ == nullptr)) EndSession(session);
}

void ProcessIo::Abandon() {
  stdin_.reset();
  terminal_.reset();
  for (Output& output : outputs_) {
    output.has_ended = true;
    output.unsent.Clear();
    output.fd.reset();
  }
}

Co<absl::Status> ProcessIo::Serve(std::shared_ptr<StdioStream> stream) {
  auto self = shared_from_this();
  if (session_ != nullptr) {
    session_->result = absl::CancelledError("carrying stdio: another call took over");
    EndSession(*session_);
  }
  auto session = std::make_shared<Session>(executor_);
  session->stream = std::move(stream);
  session_ = session;
  Spawn(executor_, "stdio receive", RunReceive(session));
  Spawn(executor_, "stdio input", RunInput(session));
  Spawn(executor_, "stdout", RunOutput(v1::StdioMessage::STDOUT, session));
  Spawn(executor_, "stderr", RunOutput(v1::StdioMessage::STDERR, session));
  co_await session->finished.Wait();
  if (session_ == session) session_.reset();
  co_return session->result;
}

Co<absl::Status> ProcessIo::Fill(int channel, size_t size, std::shared_ptr<Session> session) {
  Output& output = outputs_[static_cast<size_t>(channel)];
  while (!session->is_closed) {
    Descriptor* fd = OutputFd(channel);
    // Read before the pipe: bytes written before the exit are then certainly in it.
    const bool had_exited = has_exited_;
    const ssize_t n = ::read(fd->native_handle(), read_buffer.data(), std::min(size, read_buffer.size()));
    const int error = errno;
    if (n > 0) {
      v1::StdioMessage::Data& data = *output.unsent.mutable_data();
      data.set_channel(static_cast<v1::StdioMessage::Channel>(channel));
      data.set_data(read_buffer.data(), static_cast<size_t>(n));
      co_return absl::OkStatus();
    }
    if (n < 0 && error == EINTR) continue;
    // A terminal whose slaves are all closed reads EIO. A descendant may keep a pipe open after the
    // exit.
    if (n == 0 || error != EAGAIN || had_exited) {
      output.has_ended = true;
      co_return absl::OkStatus();
    }
    // Cancelled by an exit or a takeover, which the loop then sees.
    co_await fd->async_wait(Descriptor::wait_read, kTuple);
  }
  co_return absl::OkStatus();
}

Co<absl::Status> ProcessIo::PumpOutput(int channel, std::shared_ptr<Session> session) {
  Output& output = outputs_[static_cast<size_t>(channel)];
  size_t& credit = session->credit[static_cast<size_t>(channel)];
  for (;;) {
    if (session->is_closed) co_return absl::CancelledError("carrying stdio: closed");
    const size_t pending = output.unsent.data().data().size();
    if (pending == 0 && output.has_ended) break;
    const bool gives_way = terminal_ == nullptr && Clock::now() - last_typed < kTypingLasts;
    const size_t window = gives_way ? kWindowWhileTyping : kStdioCreditInitial;
    const size_t under_way = kStdioCreditInitial - credit;
    // All that is under way comes back in time.
    const size_t wanted = StdioCost(pending > 0 ? pending : kReadMin);
    if (under_way > 0 && (credit < wanted || under_way + wanted > window)) {
      auto changed = session->changed;
      co_await changed->Wait();
      continue;
    }
    if (pending == 0) {
      const size_t room = std::min(credit, window - std::min(window, under_way)) - kStdioMessageCost;
      const size_t size = gives_way ? std::min(room, kChunkWhileTyping) : room;
      CO_RETURN_IF_ERROR(co_await Fill(channel, size, session));
      continue;
    }
    credit -= std::min(credit, StdioCost(pending));
    CO_RETURN_IF_ERROR(co_await session->stream->Send(output.unsent));
    // After a takeover the bytes belong to the newer call, which sends them again.
    if (session->is_closed) co_return absl::CancelledError("carrying stdio: closed");
    output.unsent.mutable_data()->clear_data();
    if (pending >= kLongChunk) co_await asio::post(executor_, asio::use_awaitable);
  }
  v1::StdioMessage end = EndMessage(channel);
  co_return co_await session->stream->Send(std::move(end));
}

Co<absl::Status> ProcessIo::RunOutput(int channel, std::shared_ptr<Session> session) {
  auto self = shared_from_this();
  absl::Status status = co_await PumpOutput(channel, session);
  if (session->is_closed) co_return absl::OkStatus();
  if (!status.ok()) {
    session->result = status;
    EndSession(*session);
    co_return absl::OkStatus();
  }
  session->credit[static_cast<size_t>(channel)] = 0;
  session->ended_outputs += 1;
  FinishIfDone(*session);
  co_return absl::OkStatus();
}

Co<absl::Status> ProcessIo::WriteStdin(std::string data) {
  absl::string_view rest = data;
  while (!rest.empty()) {
    Descriptor* fd = terminal_ != nullptr ? terminal_.get() : stdin_.get();
    // No stream, or nobody who reads it: the bytes are dropped so that the sender is not held up.
    if (fd == nullptr || has_exited_) co_return absl::OkStatus();
    ssize_t n = ::write(fd->native_handle(), rest.data(), rest.size());
    if (n > 0) {
      rest.remove_prefix(static_cast<size_t>(n));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) co_return absl::OkStatus();
    auto [ec] = co_await fd->async_wait(Descriptor::wait_write, kTuple);
    if (ec && !has_exited_) co_return absl::CancelledError("writing stdin: closed");
  }
  co_return absl::OkStatus();
}

Co<absl::Status> ProcessIo::RunInput(std::shared_ptr<Session> session) {
  auto self = shared_from_this();
  while (!session->is_closed) {
    if (session->input.empty()) {
      if (session->input_has_ended) {
        CloseStdin();
        FinishIfDone(*session);
        co_return absl::OkStatus();
      }
      auto changed = session->changed;
      co_await changed->Wait();
      continue;
    }
    StdioChunk chunk = session->input.Pop();
    CO_RETURN_IF_ERROR(co_await WriteStdin(std::move(chunk.data)));
    session->input_owed += chunk.credit;
    if (session->input_owed < kStdioCreditBatch && !session->input.empty()) continue;
    const size_t owed = std::exchange(session->input_owed, 0);
    session->input_outstanding -= owed;
    v1::StdioMessage credit = CreditMessage(owed);
    absl::Status sent = co_await session->stream->Send(std::move(credit));
    // The receiving loop meets the same end and acts on it.
    if (!sent.ok()) co_return absl::OkStatus();
  }
  co_return absl::OkStatus();
}

absl::Status ProcessIo::Accept(const v1::StdioMessage& message, Session& session) {
  if (message.has_data()) {
    const size_t size = message.data().data().size();
    if (message.data().channel() != v1::StdioMessage::STDIN || size > kStdioChunkMax ||
        session.input_outstanding + StdioCost(size) > kStdioCreditInitial || session.input_has_ended) {
      return absl::InvalidArgumentError("stdio data: not stdin, ended, or more than the credit");
    }
    if (size == 0) return absl::OkStatus();
    if (terminal_ != nullptr) last_typed = Clock::now();
    session.input_outstanding += StdioCost(size);
    session.input.Push(v1::StdioMessage::STDIN, message.data().data());
  } else if (message.has_credit()) {
    const int channel = message.credit().channel();
    if (channel != v1::StdioMessage::STDOUT && channel != v1::StdioMessage::STDERR) {
      return absl::InvalidArgumentError("stdio credit: not an output");
    }
    size_t& credit = session.credit[static_cast<size_t>(channel)];
    credit = std::min(credit + message.credit().bytes(), kStdioCreditInitial);
  } else if (message.kind_case() == v1::StdioMessage::kEnd && message.end() == v1::StdioMessage::STDIN) {
    session.input_has_ended = true;
  } else {
    return absl::InvalidArgumentError("stdio message: unexpected kind");
  }
  return absl::OkStatus();
}

Co<absl::Status> ProcessIo::RunReceive(std::shared_ptr<Session> session) {
  auto self = shared_from_this();
  while (!session->is_closed) {
    absl::StatusOr<v1::StdioMessage> message = co_await session->stream->Receive();
    if (session->is_closed) break;
    absl::Status status = message.ok() ? Accept(*message, *session) : message.status();
    if (absl::IsOutOfRange(status)) {
      Abandon();
      EndSession(*session);
      break;
    }
    if (!status.ok()) {
      session->result = status;
      EndSession(*session);
      break;
    }
    session->Wake();
  }
  co_return absl::OkStatus();
}

}  // namespace kata::agent
