// SPDX-License-Identifier: Apache-2.0
// What the Task API keeps of each container and of each process that a caller knows. Io thread only.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>

#include "proto/base/coro.h"
#include "proto/schema/wire.pb.h"
#include "shimv2/stdio/logger.h"
#include "shimv2/stdio/relay.h"
#include "virtcontainers/sandbox.h"

namespace kata::shimv2 {

// The init of a container or an exec.
struct ProcessRecord {
  explicit ProcessRecord(asio::any_io_executor executor) : exit_published(executor) {}

  std::string container_id;
  std::string exec_id;  // empty = init
  StdioPaths paths;
  std::shared_ptr<virtcontainers::Process> process;
  std::shared_ptr<StdioRelay> relay;
  std::shared_ptr<Logger> logger;
  bool close_stdin_requested = false;
  bool is_starting = false;
  bool has_started = false;  // its start was published
  bool is_deleting = false;
  std::shared_ptr<Latch> start_settled;  // of the start under way: an exit is never published before its start
  Latch exit_published;                  // nor a delete before the exit; set also when there was nothing to publish

  const std::string& name() const { return exec_id.empty() ? container_id : exec_id; }
};

struct TaskRecord {
  std::string id;
  std::string bundle;
  std::shared_ptr<virtcontainers::Container> container;
  std::shared_ptr<ProcessRecord> init;
  std::map<std::string, std::shared_ptr<ProcessRecord>> execs;
  pid_t pid = 0;  // of a live process in the container's network namespace; never 0
  bool is_deleting = false;
};

inline void SetTimestamp(wire::Timestamp* out, int64_t ns) {
  out->set_seconds(ns / 1000000000);
  out->set_nanos(static_cast<int32_t>(ns % 1000000000));
}

// Of any message with exit_status and exited_at; untouched while the process has not exited.
template <typename Message>
void FillExit(const virtcontainers::Process& process, Message& message) {
  if (!process.exit().has_value()) return;
  message.set_exit_status(process.exit()->status);
  SetTimestamp(message.mutable_exited_at(), process.exit()->exited_at_ns);
}

}  // namespace kata::shimv2
