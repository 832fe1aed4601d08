// SPDX-License-Identifier: Apache-2.0
#include "shimv2/stdio/relay.h"

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <utility>

#include <absl/strings/str_cat.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/write.hpp>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/base/stdio_queue.h"
#include "proto/schema/agent.pb.h"
#include "proto/ttrpc/message_stream.h"

namespace kata::shimv2 {
namespace {

using agent::v1::StdioMessage;
using Channel = StdioMessage::Channel;

// Between two looks for the reader of a fifo.
constexpr std::chrono::milliseconds kReaderPollMin{2};
constexpr std::chrono::milliseconds kReaderPollMax{100};

// A fifo that still holds output stays open for so long, for a client that has not read any of it yet and for one that
// reads while the process runs; and is looked at again after these pauses.
constexpr std::chrono::milliseconds kUnreadPatienceFirst{100};
constexpr std::chrono::milliseconds kUnreadPatience{1000};
constexpr std::chrono::microseconds kUnreadPollMin{500};
constexpr std::chrono::microseconds kUnreadPollMax{20'000};

// A slow reader that goes on is waited for, but not for ever.
constexpr int kDrainFactorMax = 5;

// Where stdin is read to, one read at a time.
std::array<char, kStdioChunkMax> read_buffer;

constexpr std::array<Channel, 2> kOutputChannels = {StdioMessage::STDOUT, StdioMessage::STDERR};

// An output file: what has come and is not yet written, never more than the credit of its channels.
struct Output {
  explicit Output(asio::any_io_executor executor) : file(executor) {}
  asio::posix::stream_descriptor file;
  std::shared_ptr<const UniqueFd> regular;  // in place of `file`: it is never waited for, and a write blocks
  std::string late_fifo;                    // not open yet: it has no reader
  StdioQueue queue;                         // two channels may share one file
  std::shared_ptr<Latch> changed;
  uint64_t written = 0;   // bytes
  bool has_ended = true;  // nothing more will come; true from the start for a channel that does not exist
  bool is_closed = true;
};

bool IsRegular(const UniqueFd& fd) {
  struct stat info {};
  return fd.valid() && ::fstat(fd.get(), &info) == 0 && S_ISREG(info.st_mode);
}

class Relay final : public StdioRelay, public std::enable_shared_from_this<Relay> {
 public:
  Relay(asio::any_io_executor executor, asio::thread_pool& pool, StdioFiles files,
        std::shared_ptr<virtcontainers::StdioStream> stream)
      : executor_(executor),
        pool_(pool),
        stream_(std::move(stream)),
        in_(executor),
        in_keeper_(std::move(files.in_keeper)),
        outputs_{Output(executor), Output(executor)},
        err_is_out_(files.err_is_out),
        drained_(executor) {
    if (files.in.valid()) in_.assign(files.in.release());
    OpenOutput(outputs_[0], std::move(files.out), std::move(files.late_out));
    OpenOutput(outputs_[1], std::move(files.err), std::move(files.late_err));
    credit_changed_ = std::make_shared<Latch>(executor_);
  }

  void Run() {
    Spawn(executor_, "receiving stdio", ReceiveLoop(shared_from_this()));
    if (in_.is_open()) Spawn(executor_, "reading stdin", StdinLoop(shared_from_this()));
    for (size_t i = 0; i < outputs_.size(); ++i) {
      if (!outputs_[i].is_closed) Spawn(executor_, "writing output", OutputLoop(shared_from_this(), i));
    }
    CheckDrained();
  }

  void CloseStdin() override { in_keeper_.reset(); }

  Co<bool> WaitDrained(std::chrono::nanoseconds timeout) override {
    auto self = shared_from_this();
    const auto end = std::chrono::steady_clock::now() + kDrainFactorMax * timeout;
    while (true) {
      const uint64_t before = chunks_written_;
      bool is_drained = co_await drained_.WaitFor(timeout);
      const bool goes_on = chunks_written_ != before && std::chrono::steady_clock::now() < end;
      if (is_drained || !goes_on) co_return is_drained;
    }
  }

  void Close() override {
    in_keeper_.reset();
    CloseFile(in_);
    credit_changed_->Set();
    for (Output& output : outputs_) {
      output.has_ended = true;
      output.is_closed = true;
      output.queue.Clear();
      CloseFile(output.file);
      if (output.changed) output.changed->Set();
    }
    // Others hold it while they wait for it.
    if (stream_ != nullptr) stream_->Close();
    stream_.reset();
    drained_.Set();
  }

 private:
  static void CloseFile(asio::posix::stream_descriptor& file) {
    boost::system::error_code ignored;
    file.close(ignored);
  }

  void OpenOutput(Output& output, UniqueFd fd, std::string late_fifo) {
    output.changed = std::make_shared<Latch>(executor_);
    if (!fd.valid() && late_fifo.empty()) return;
    if (IsRegular(fd)) {
      output.regular = std::make_shared<const UniqueFd>(std::move(fd));
    } else if (fd.valid()) {
      output.file.assign(fd.release());
    }
    output.late_fifo = std::move(late_fifo);
    output.has_ended = false;
    output.is_closed = false;
  }

  Output& OutputOf(Channel channel) {
    return channel == StdioMessage::STDERR && !err_is_out_ ? outputs_[1] : outputs_[0];
  }

  void Wake(Output& output) { std::exchange(output.changed, std::make_shared<Latch>(executor_))->Set(); }

  void CheckDrained() {
    if (!outputs_[0].is_closed || !outputs_[1].is_closed) return;
    drained_.Set();
    // Nobody reads stdin any more once the outputs of a finished process are closed.
    if (stream_has_ended_) {
      in_keeper_.reset();
      CloseFile(in_);
    }
  }

  static Co<absl::Status> ReceiveLoop(std::shared_ptr<Relay> self) {
    std::shared_ptr<virtcontainers::StdioStream> stream = self->stream_;
    absl::Status result;
    while (self->stream_ != nullptr) {
      auto message = co_await stream->Receive();
      result = message.ok() ? self->Handle(std::move(*message)) : message.status();
      if (!result.ok()) break;
    }
    if (stream != nullptr) stream->Close();
    self->stream_has_ended_ = true;
    self->credit_changed_->Set();
    self->stream_.reset();
    for (Output& output : self->outputs_) {
      output.has_ended = true;
      self->Wake(output);
    }
    self->CheckDrained();
    // All output has come, or its machine is gone, or nobody wants it any more.
    if (absl::IsOutOfRange(result) || absl::IsUnavailable(result)) co_return absl::OkStatus();
    co_return result;
  }

  absl::Status Handle(StdioMessage message) {
    switch (message.kind_case()) {
      case StdioMessage::kData: {
        const Channel channel = message.data().channel();
        if (channel != StdioMessage::STDOUT && channel != StdioMessage::STDERR)
          return absl::InvalidArgumentError("receiving output: the guest sent data of no output");
        Output& output = OutputOf(channel);
        std::string data = std::move(*message.mutable_data()->mutable_data());
        if (data.empty() || data.size() > kStdioChunkMax)
          return absl::InvalidArgumentError(
              absl::StrCat("receiving output: the guest sent ", data.size(), " bytes at once"));
        size_t& unreturned = unreturned_[static_cast<size_t>(channel)];
        if (unreturned + StdioCost(data.size()) > kStdioCreditInitial)
          return absl::ResourceExhaustedError("receiving output: the guest sent more than its credit");
        unreturned += StdioCost(data.size());
        if (output.is_closed) return absl::OkStatus();
        output.queue.Push(channel, std::move(data));
        Wake(output);
        return absl::OkStatus();
      }
      case StdioMessage::kEnd: {
        const bool is_err = message.end() == StdioMessage::STDERR;
        if (is_err) err_ended_ = true;
        if (message.end() == StdioMessage::STDOUT) out_ended_ = true;
        Output& output = OutputOf(message.end());
        output.has_ended = !err_is_out_ || (out_ended_ && err_ended_);
        Wake(output);
        return absl::OkStatus();
      }
      case StdioMessage::kCredit:
        stdin_credit_ = std::min<size_t>(stdin_credit_ + message.credit().bytes(), kStdioCreditInitial);
        std::exchange(credit_changed_, std::make_shared<Latch>(executor_))->Set();
        return absl::OkStatus();
      default:
        return absl::InvalidArgumentError("receiving stdio: the guest sent a message of no known kind");
    }
  }

  // Waits for the fifo's reader, until the relay is closed; the process is held up by its credit meanwhile.
  static Co<absl::Status> OpenLateFifo(std::shared_ptr<Relay> self, size_t index) {
    Output& output = self->outputs_[index];
    std::chrono::milliseconds pause = kReaderPollMin;
    while (!output.is_closed) {
      auto fd = OpenOutputFifo(output.late_fifo, "an output");
      if (!fd.ok()) co_return fd.status();
      if (fd->valid()) {
        output.file.assign(fd->release());
        co_return absl::OkStatus();
      }
      co_await Sleep(pause);
      pause = std::min(2 * pause, kReaderPollMax);
    }
    co_return absl::OkStatus();
  }

  static Co<absl::Status> Write(std::shared_ptr<Relay> self, size_t index, const std::string* data) {
    Output& output = self->outputs_[index];
    if (output.regular == nullptr) {
      auto [ec, size] = co_await asio::async_write(output.file, asio::buffer(*data), kTuple);
      if (ec) co_return absl::UnavailableError(ec.message());
      co_return absl::OkStatus();
    }
    // Its own copies: a relay that is closed meanwhile takes nothing away.
    std::function<absl::Status()> job = [file = output.regular, text = *data] { return WriteAll(file->get(), text); };
    absl::Status status = co_await RunBlocking(self->pool_, std::move(job));
    co_return status;
  }

  // Some clients (containerd 1.6) give up what they have not read when they hear of the exit: a relay is drained when
  // its fifos are empty.
  static Co<void> WaitUntilRead(std::shared_ptr<Relay> self, size_t index) {
    Output& output = self->outputs_[index];
    const auto begin = std::chrono::steady_clock::now();
    std::chrono::microseconds pause = kUnreadPollMin;
    while (output.file.is_open()) {
      int unread = 0;
      if (::ioctl(output.file.native_handle(), FIONREAD, &unread) != 0 || unread <= 0) co_return;
      // One that waits for the exit before it reads is not to wait for long.
      const bool has_read = static_cast<uint64_t>(unread) < output.written;
      if (std::chrono::steady_clock::now() - begin > (has_read ? kUnreadPatience : kUnreadPatienceFirst)) co_return;
      co_await Sleep(pause);
      pause = std::min(2 * pause, kUnreadPollMax);
    }
  }

  static Co<absl::Status> OutputLoop(std::shared_ptr<Relay> self, size_t index) {
    Output& output = self->outputs_[index];
    bool can_write = true;
    if (!output.late_fifo.empty()) {
      absl::Status opened = co_await OpenLateFifo(self, index);
      if (!opened.ok()) log::Warn("writing output of a process: {}", opened.message());
      can_write = opened.ok();
    }
    while (!output.is_closed) {
      if (output.queue.empty()) {
        if (output.has_ended) break;
        std::shared_ptr<Latch> changed = output.changed;
        co_await changed->Wait();
        continue;
      }
      const StdioChunk chunk = output.queue.Pop();
      if (can_write) {
        absl::Status written = co_await Write(self, index, &chunk.data);
        // A full disk or a closed file must not stop the workload: what cannot be written is dropped, said once.
        if (!written.ok() && !output.is_closed) {
          log::Warn("writing output of a process: {}", written.message());
          can_write = false;
        }
      }
      ++self->chunks_written_;
      output.written += chunk.data.size();
      self->owed_[static_cast<size_t>(chunk.channel)] += chunk.credit;
      for (Channel channel : kOutputChannels) {
        if (&self->OutputOf(channel) == &output) co_await ReturnCredit(self, channel, output.queue.empty());
      }
    }
    co_await WaitUntilRead(self, index);
    output.is_closed = true;
    CloseFile(output.file);
    self->CheckDrained();
    co_return absl::OkStatus();
  }

  // What was written is told to the guest in few messages: many small ones may have waited for a slow reader.
  static Co<void> ReturnCredit(std::shared_ptr<Relay> self, Channel channel, bool is_queue_empty) {
    size_t& owed = self->owed_[static_cast<size_t>(channel)];
    if (owed == 0 || (owed < kStdioCreditBatch && !is_queue_empty)) co_return;
    std::shared_ptr<virtcontainers::StdioStream> stream = self->stream_;
    if (stream == nullptr || self->stream_has_ended_) co_return;
    const size_t credit = std::exchange(owed, 0);
    self->unreturned_[static_cast<size_t>(channel)] -= credit;
    StdioMessage message;
    message.mutable_credit()->set_channel(channel);
    message.mutable_credit()->set_bytes(static_cast<uint32_t>(credit));
    absl::Status sent = co_await stream->Send(std::move(message));
    if (!sent.ok()) log::Debug("returning credit: {}", sent.message());
  }

  static Co<absl::Status> StdinLoop(std::shared_ptr<Relay> self) {
    asio::posix::stream_descriptor& in = self->in_;
    while (in.is_open() && self->stream_ != nullptr && !self->stream_has_ended_) {
      if (self->stdin_credit_ <= kStdioMessageCost) {
        std::shared_ptr<Latch> changed = self->credit_changed_;
        co_await changed->Wait();
        continue;
      }
      const size_t room = std::min(self->stdin_credit_ - kStdioMessageCost, read_buffer.size());
      const ssize_t n = ::read(in.native_handle(), read_buffer.data(), room);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) {
        co_await in.async_wait(asio::posix::stream_descriptor::wait_read, kTuple);
        continue;
      }
      StdioMessage message;
      if (n <= 0) {
        message.set_end(StdioMessage::STDIN);
      } else {
        const auto size = static_cast<size_t>(n);
        self->stdin_credit_ -= StdioCost(size);
        message.mutable_data()->set_channel(StdioMessage::STDIN);
        message.mutable_data()->set_data(read_buffer.data(), size);
      }
      std::shared_ptr<virtcontainers::StdioStream> stream = self->stream_;
      absl::Status sent = co_await stream->Send(std::move(message));
      if (n <= 0 || !sent.ok()) break;
    }
    CloseFile(self->in_);
    self->in_keeper_.reset();
    co_return absl::OkStatus();
  }

  asio::any_io_executor executor_;
  asio::thread_pool& pool_;
  std::shared_ptr<virtcontainers::StdioStream> stream_;
  bool stream_has_ended_ = false;
  asio::posix::stream_descriptor in_;
  UniqueFd in_keeper_;
  size_t stdin_credit_ = kStdioCreditInitial;
  std::shared_ptr<Latch> credit_changed_;
  std::array<Output, 2> outputs_;
  bool err_is_out_ = false;
  // By channel: credit that the guest has used up and not got back, and the part of it that it may have back.
  std::array<size_t, 3> unreturned_ = {};
  std::array<size_t, 3> owed_ = {};
  bool out_ended_ = false;
  bool err_ended_ = false;
  uint64_t chunks_written_ = 0;
  Latch drained_;
};

}  // namespace

std::shared_ptr<StdioRelay> StdioRelay::Start(asio::any_io_executor executor, asio::thread_pool& pool, StdioFiles files,
                                              std::shared_ptr<virtcontainers::StdioStream> stream) {
  auto relay = std::make_shared<Relay>(executor, pool, std::move(files), std::move(stream));
  relay->Run();
  return relay;
}

}  // namespace kata::shimv2
