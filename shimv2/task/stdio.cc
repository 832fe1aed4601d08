// SPDX-License-Identifier: Apache-2.0
// The part of TaskService that joins a process to its streams and its logger.
#include <utility>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "shimv2/task/task_service.h"

namespace kata::shimv2 {
namespace {

Co<absl::Status> StopLogger(std::shared_ptr<Logger> logger) {
  co_await logger->Stop();
  co_return absl::OkStatus();
}

}  // namespace

Co<absl::Status> TaskService::StartLogger(std::shared_ptr<ProcessRecord> record, std::shared_ptr<StdioFiles> files) {
  if (!IsLoggerUri(record->paths.out)) co_return absl::OkStatus();
  LoggerOptions options;
  CO_ASSIGN_OR_RETURN(options.command, ParseLoggerUri(record->paths.out));
  options.process_id = record->name();
  options.name_space = name_space_;
  auto logger = co_await Logger::Start(executor_, pool_, std::move(options));
  if (!logger.ok()) co_return logger.status();
  record->logger = std::move(*logger);
  files->out = record->logger->TakeOutput();
  UniqueFd errors = record->logger->TakeErrors();
  // With a terminal there is one stream; the other pipe ends at once.
  if (HasErrors(record->paths)) files->err = std::move(errors);
  co_return absl::OkStatus();
}

Co<absl::Status> TaskService::AttachStdio(std::shared_ptr<ProcessRecord> record, StdioFiles files) {
  const StdioPaths& paths = record->paths;
  if (paths.in.empty() && !HasOutput(paths) && !HasErrors(paths)) co_return absl::OkStatus();
  auto stream = co_await record->process->OpenStdio();
  if (!stream.ok()) co_return stream.status();
  record->relay = StdioRelay::Start(executor_, pool_, std::move(files), std::move(*stream));
  if (record->close_stdin_requested) record->relay->CloseStdin();
  co_return absl::OkStatus();
}

// All get their signal before the first is waited for.
Co<void> TaskService::StopLoggers(std::vector<std::shared_ptr<ProcessRecord>> records) {
  for (const std::shared_ptr<ProcessRecord>& record : records) {
    if (record->logger) Spawn(executor_, "stopping a logger", StopLogger(record->logger));
  }
  for (const std::shared_ptr<ProcessRecord>& record : records) {
    std::shared_ptr<Logger> logger = record->logger;
    if (logger) co_await logger->Stop();
  }
}

}  // namespace kata::shimv2
