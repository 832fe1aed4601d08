// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/share/daemon_log.h"

#include <algorithm>
#include <array>
#include <memory>

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "proto/base/log.h"

namespace kata::virtcontainers {

std::vector<std::string> DaemonLines::Add(std::string_view data, Clock::time_point now) {
  const auto earned = (now - counted_) / kDaemonLinePause;
  if (earned > 0) {
    budget_ = static_cast<int>(std::min<int64_t>(kDaemonLinesAtOnce, budget_ + earned));
    counted_ = now;
  }
  std::vector<std::string> out;
  for (const char c : data) {
    if (c != '\n') {
      if (line_.size() < kDaemonLineMax) line_ += absl::ascii_isprint(static_cast<unsigned char>(c)) ? c : ' ';
      continue;
    }
    std::string line = std::exchange(line_, std::string());
    if (line.empty()) continue;
    if (budget_ <= 0) {
      ++dropped_;
      continue;
    }
    --budget_;
    if (dropped_ > 0) absl::StrAppend(&line, " (", std::exchange(dropped_, 0), " lines before it were dropped)");
    out.push_back(std::move(line));
  }
  return out;
}

Co<absl::Status> LogDaemon(std::string name, UniqueFd output) {
  auto executor = co_await asio::this_coro::executor;
  asio::posix::stream_descriptor pipe(executor, output.release());
  auto buffer = std::make_unique<std::array<char, 4096>>();
  DaemonLines lines;
  while (true) {
    auto [ec, size] = co_await pipe.async_read_some(asio::buffer(*buffer), kTuple);
    if (ec) co_return absl::OkStatus();
    for (const std::string& line : lines.Add(std::string_view(buffer->data(), size), DaemonLines::Clock::now())) {
      log::Warn("{}: {}", name, line);
    }
  }
}

}  // namespace kata::virtcontainers
