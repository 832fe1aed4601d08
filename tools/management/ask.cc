// SPDX-License-Identifier: Apache-2.0
#include "tools/management/ask.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <absl/strings/ascii.h>
#include <boost/asio/io_context.hpp>

#include "proto/base/status.h"
#include "virtcontainers/paths.h"

namespace kata::management {
namespace {

// What those who ask take from in turns.
struct Round {
  explicit Round(const asio::any_io_executor& executor) : done(executor) {}
  std::vector<std::string> sandboxes;
  http::Question question;
  std::chrono::nanoseconds timeout{0};
  size_t next = 0;
  size_t askers = 0;
  Answers answers;
  Latch done;
};

Co<absl::Status> AskInTurn(std::shared_ptr<Round> round) {
  while (round->next < round->sandboxes.size()) {
    const std::string sandbox = round->sandboxes[round->next++];
    auto answer = co_await http::Ask(virtcontainers::RuntimeDirectory(sandbox), virtcontainers::kManagementSocket,
                                     round->question, round->timeout);
    if (!answer.ok()) answer = Annotate(answer.status(), absl::StrCat("sandbox \"", sandbox, "\""));
    round->answers.emplace(sandbox, std::move(answer));
  }
  if (--round->askers == 0) round->done.Set();
  co_return absl::OkStatus();
}

Co<absl::Status> AskInto(std::vector<std::string> sandboxes, http::Question question, std::chrono::nanoseconds timeout,
                         std::shared_ptr<Answers> answers) {
  *answers = co_await AskShims(std::move(sandboxes), std::move(question), timeout);
  co_return absl::OkStatus();
}

}  // namespace

Co<Answers> AskShims(std::vector<std::string> sandboxes, http::Question question, std::chrono::nanoseconds timeout) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  auto round = std::make_shared<Round>(executor);
  round->askers = std::min(sandboxes.size(), kAskedAtOnceMax);
  round->sandboxes = std::move(sandboxes);
  round->question = std::move(question);
  round->timeout = timeout;
  if (round->askers == 0) co_return Answers();
  const size_t askers = round->askers;
  for (size_t i = 0; i < askers; ++i) Spawn(executor, "asking shims", AskInTurn(round));
  co_await round->done.Wait();
  co_return std::move(round->answers);
}

Answers AskShimsNow(const std::vector<std::string>& sandboxes, const http::Question& question,
                    std::chrono::nanoseconds timeout) {
  asio::io_context io(1);
  auto answers = std::make_shared<Answers>();
  Spawn(io.get_executor(), "asking shims", AskInto(sandboxes, question, timeout, answers));
  io.run();
  return std::move(*answers);
}

absl::StatusOr<std::string> AskShimNow(const std::string& sandbox, const http::Question& question,
                                       std::chrono::nanoseconds timeout) {
  Answers answers = AskShimsNow({sandbox}, question, timeout);
  const auto at = answers.find(sandbox);
  if (at == answers.end()) return absl::InternalError(absl::StrCat("sandbox \"", sandbox, "\" was not asked"));
  ASSIGN_OR_RETURN(http::Answer answer, std::move(at->second));
  if (answer.status >= 200 && answer.status < 300) return std::move(answer.body);
  return absl::FailedPreconditionError(absl::StrCat("asking the shim of sandbox \"", sandbox, "\" for ", question.path,
                                                    ": ", absl::StripAsciiWhitespace(answer.body)));
}

}  // namespace kata::management
