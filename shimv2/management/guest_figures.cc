// SPDX-License-Identifier: Apache-2.0
#include "shimv2/management/guest_figures.h"

namespace kata::shimv2 {

Co<std::shared_ptr<const GuestFigures>> GuestAsker::Ask(std::vector<std::string> ids,
                                                        std::chrono::nanoseconds patience) {
  auto self = shared_from_this();
  std::shared_ptr<Question> question = question_;
  if (question == nullptr) {
    std::shared_ptr<virtcontainers::Sandbox> sandbox = pod_->sandbox();
    if (sandbox == nullptr || sandbox->VmPid() == 0) co_return nullptr;
    question = std::make_shared<Question>(executor_);
    question_ = question;
    Spawn(executor_, "asking the guest for its figures", Run(self, question, sandbox, std::move(ids)));
  }
  co_await question->answered.WaitFor(patience);
  co_return question->figures;
}

Co<absl::Status> GuestAsker::Run(std::shared_ptr<GuestAsker> self, std::shared_ptr<Question> question,
                                 std::shared_ptr<virtcontainers::Sandbox> sandbox, std::vector<std::string> ids) {
  auto figures = std::make_shared<GuestFigures>();
  auto whole = co_await sandbox->Stats();
  if (whole.ok()) {
    figures->sandbox = *std::move(whole);
    for (const std::string& id : ids) {
      std::shared_ptr<virtcontainers::Container> container = sandbox->FindContainer(id);
      if (container == nullptr) continue;
      auto stats = co_await container->Stats();
      if (stats.ok()) figures->containers.emplace_back(id, *std::move(stats));
    }
    question->figures = figures;
  }
  self->question_ = nullptr;
  question->answered.Set();
  co_return absl::OkStatus();
}

}  // namespace kata::shimv2
