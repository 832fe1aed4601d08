// SPDX-License-Identifier: Apache-2.0
#include "tools/kata-ctl/support/run_program.h"

#include <unistd.h>

#include <array>

#include "proto/base/child_process.h"
#include "proto/base/process.h"
#include "proto/base/status.h"

namespace kata::ctl {
namespace {

constexpr std::chrono::seconds kKillTimeout{2};

}  // namespace

absl::StatusOr<std::string> RunProgram(const std::vector<std::string>& words, std::chrono::milliseconds timeout) {
  ASSIGN_OR_RETURN(OutputPipe output, MakeOutputPipe());
  ChildOptions options;
  options.name = words[0];
  options.words = words;
  options.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"};
  options.output = output.write.get();
  ASSIGN_OR_RETURN(ChildProcess child, StartChild(options));
  output.write.reset();
  const auto until = std::chrono::steady_clock::now() + timeout;
  std::string text;
  std::array<char, 4096> chunk{};
  while (text.size() < kOutputMax) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0 || !IsReadable(output.read.get(), left)) break;
    const ssize_t size = ::read(output.read.get(), chunk.data(), chunk.size());
    if (size <= 0) break;
    text.append(chunk.data(), static_cast<size_t>(size));
  }
  RETURN_IF_ERROR(EndChild(child, words[0], kKillTimeout));
  return text;
}

}  // namespace kata::ctl
