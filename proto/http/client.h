// SPDX-License-Identifier: Apache-2.0
// One HTTP request to a unix socket. The answer is bounded: it comes from a process that may be anything. Io thread.
#pragma once

#include <chrono>
#include <string>

#include "proto/base/coro.h"

namespace kata::http {

inline constexpr size_t kAnswerMax = 4u << 20;

struct Question {
  std::string method = "GET";
  std::string path;
  std::string body;
};

struct Answer {
  unsigned status = 0;
  std::string type;
  std::string body;
};

// Of the socket `directory`/`name`, whose whole path may be longer than an address takes; `name` is short. NotFound
// when it is not there; Unavailable when nobody listens on it any more, and only then; DeadlineExceeded after
// `timeout`; Aborted when the other end has closed the connection or has no room for it.
Co<absl::StatusOr<Answer>> Ask(std::string directory, std::string name, Question question,
                               std::chrono::nanoseconds timeout);

}  // namespace kata::http
