// SPDX-License-Identifier: Apache-2.0
// A shim's management socket and the log that it keeps, from its sandbox's beginning to the shim's end. Io thread only.
#pragma once

#include <memory>
#include <string>

#include "proto/http/server.h"
#include "shimv2/management/pages.h"

namespace kata::shimv2 {

class Management {
 public:
  Management(asio::any_io_executor executor, std::shared_ptr<const PodView> view)
      : executor_(executor), routes_(MakeRoutes(std::move(view))) {}
  // Answers for the sandbox of that name from now on, and logs into its directory. Without a socket the pod runs all
  // the same, with a warning. At once, in this call: a directory that is made when the sandbox has gone already would
  // stay.
  void Open(const std::string& sandbox_name);

 private:
  asio::any_io_executor executor_;
  std::shared_ptr<const http::Routes> routes_;
  std::shared_ptr<http::Server> server_;
};

}  // namespace kata::shimv2
