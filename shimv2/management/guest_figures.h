// SPDX-License-Identifier: Apache-2.0
// What the guest says of itself and of its containers, asked for once at a time: a guest that does not answer is not
// asked again while it is waited for, and who wants to know does not wait for long. Io thread only.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proto/base/coro.h"
#include "proto/schema/agent.pb.h"
#include "shimv2/pod/pod_sandbox.h"

namespace kata::shimv2 {

// The guest's word: fit to be shown, not to be trusted.
struct GuestFigures {
  agent::v1::StatsContainerResponse sandbox;                                          // of all containers together
  std::vector<std::pair<std::string, agent::v1::StatsContainerResponse>> containers;  // those that run, by id
};

class GuestAsker : public std::enable_shared_from_this<GuestAsker> {
 public:
  GuestAsker(asio::any_io_executor executor, std::shared_ptr<PodSandbox> pod)
      : executor_(executor), pod_(std::move(pod)) {}
  // Of the containers `ids`. Null when no machine runs, when the guest fails, and when it has not answered in
  // `patience`.
  Co<std::shared_ptr<const GuestFigures>> Ask(std::vector<std::string> ids, std::chrono::nanoseconds patience);

 private:
  struct Question {
    explicit Question(const asio::any_io_executor& executor) : answered(executor) {}
    Latch answered;
    std::shared_ptr<const GuestFigures> figures;
  };

  static Co<absl::Status> Run(std::shared_ptr<GuestAsker> self, std::shared_ptr<Question> question,
                              std::shared_ptr<virtcontainers::Sandbox> sandbox, std::vector<std::string> ids);

  asio::any_io_executor executor_;
  std::shared_ptr<PodSandbox> pod_;
  std::shared_ptr<Question> question_;  // under way
};

}  // namespace kata::shimv2
