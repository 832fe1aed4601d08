// SPDX-License-Identifier: Apache-2.0
// The agent's ends of one process's standard streams, and what carries them over a Stdio call.
// Output that was read but not sent stays here, so that a host that reconnects continues where it
// stopped. At most one call carries a process's streams; a newer one takes over. Io thread only.
#pragma once

#include <array>
#include <memory>
#include <string>

#include <absl/status/statusor.h>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "proto/base/coro.h"
#include "proto/base/fd.h"
#include "proto/schema/agent.pb.h"
#include "proto/ttrpc/message_stream.h"

namespace kata::agent {

using StdioStream = ttrpc::MessageStream<v1::StdioMessage, v1::StdioMessage>;

class ProcessIo : public std::enable_shared_from_this<ProcessIo> {
 public:
  explicit ProcessIo(asio::any_io_executor executor);
  // Makes pipes for the streams asked for; the child's ends go to `child_ends` (close them after
  // the clone).
  absl::Status MakePipes(bool has_stdin, bool has_stdout, bool has_stderr, std::array<UniqueFd, 3>& child_ends);
  void SetTerminal(UniqueFd master);
  absl::Status Resize(unsigned width, unsigned height);
  // The process has exited: what its pipes still hold is drained, then the streams end.
  void ProcessExited();
  // Carries the streams until all output has ended and nothing can take input any more, the connection closes, or a
  // newer call takes over. A host that ends its direction of the call wants no more: as if the readers of the pipes
  // and the terminal had gone, they are closed here.
  Co<absl::Status> Serve(std::shared_ptr<StdioStream> stream);

 private:
  struct Session;
  struct Output {
    std::unique_ptr<asio::posix::stream_descriptor> fd;
    v1::StdioMessage unsent;
    bool has_ended = false;
  };
  std::unique_ptr<asio::posix::stream_descriptor> Wrap(UniqueFd fd);
  asio::posix::stream_descriptor* OutputFd(int channel);
  void CloseStdin();
  // Fills `unsent` with at most `size` bytes or sets has_ended.
  Co<absl::Status> Fill(int channel, size_t size, std::shared_ptr<Session> session);
  Co<absl::Status> PumpOutput(int channel, std::shared_ptr<Session> session);
  Co<absl::Status> RunOutput(int channel, std::shared_ptr<Session> session);
  Co<absl::Status> RunInput(std::shared_ptr<Session> session);
  Co<absl::Status> RunReceive(std::shared_ptr<Session> session);
  absl::Status Accept(const v1::StdioMessage& message, Session& session);
  Co<absl::Status> WriteStdin(std::string data);
  void EndSession(Session& session);
  void FinishIfDone(Session& session);
  void Abandon();

  asio::any_io_executor executor_;
  std::unique_ptr<asio::posix::stream_descriptor> terminal_;
  std::unique_ptr<asio::posix::stream_descriptor> stdin_;
  std::array<Output, 3> outputs_;  // by channel number; [0] is unused
  bool has_exited_ = false;
  std::shared_ptr<Session> session_;
};

}  // namespace kata::agent
