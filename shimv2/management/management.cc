// SPDX-License-Identifier: Apache-2.0
#include "shimv2/management/management.h"

#include <utility>

#include "proto/base/log.h"
#include "shimv2/management/management_socket.h"
#include "virtcontainers/paths.h"

namespace kata::shimv2 {

void Management::Open(const std::string& sandbox_name) {
  auto listener = ListenForManagement(sandbox_name);
  if (!listener.ok()) {
    log::Warn("opening the management socket: {}", listener.status().message());
    return;
  }
  const absl::Status kept = log::KeepIn(virtcontainers::RuntimeDirectory(sandbox_name), virtcontainers::kLogName);
  if (!kept.ok()) log::Warn("keeping the log: {}", kept.message());
  if (server_ != nullptr) server_->Stop();
  server_ = http::Server::Start(executor_, *std::move(listener), routes_);
}

}  // namespace kata::shimv2
