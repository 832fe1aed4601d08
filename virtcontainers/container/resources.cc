// SPDX-License-Identifier: Apache-2.0
// The calls of GuestContainer about the container's cgroup in the guest: freezer, limits, statistics, OOM kills.
#include "proto/base/status.h"
#include "proto/schema/agent.ttrpc.h"
#include "virtcontainers/container/guest_container.h"
#include "virtcontainers/container/guest_stats.h"
#include "virtcontainers/oci/spec.h"

namespace kata::virtcontainers {
namespace {

constexpr std::chrono::nanoseconds kNoTimeout{0};  // most containers never run out of memory

}  // namespace

Co<absl::Status> GuestContainer::Pause() { return SetPaused(true); }
Co<absl::Status> GuestContainer::Resume() { return SetPaused(false); }

Co<absl::Status> GuestContainer::SetPaused(bool is_paused) {
  auto self = shared_from_this();
  const std::string what = absl::StrCat(is_paused ? "pausing" : "resuming", " container \"", options_.id, "\"");
  if (init_->state() != ProcessState::kRunning) co_return absl::FailedPreconditionError(what + ": it is not running");
  if (is_freezing_) co_return absl::FailedPreconditionError(what + ": another pause or resume is under way");
  if (is_paused_ == is_paused)
    co_return absl::FailedPreconditionError(what + (is_paused ? ": it is paused already" : ": it is not paused"));
  is_freezing_ = true;
  auto outcome = std::make_shared<Outcome>(executor_);
  Spawn(executor_, "pausing or resuming", SetPausedInGuest(self, is_paused, outcome));
  co_await outcome->known.WaitFor(kAgentCallTimeout);
  if (!outcome->known.is_set()) co_return absl::DeadlineExceededError(what + ": the guest does not answer");
  co_return Annotate(outcome->status, what);
}

// Without a limit: what the guest does when it goes on counts, also when the caller has given up.
Co<absl::Status> GuestContainer::SetPausedInGuest(std::shared_ptr<GuestContainer> self, bool is_paused,
                                                  std::shared_ptr<Outcome> outcome) {
  agent::v1::AgentClient client(self->connection_);
  agent::v1::ProcessId request;
  request.set_container_id(self->options_.id);
  if (is_paused) {
    auto response = co_await client.PauseContainer(std::move(request), kNoTimeout);
    outcome->status = response.status();
  } else {
    auto response = co_await client.ResumeContainer(std::move(request), kNoTimeout);
    outcome->status = response.status();
  }
  self->is_freezing_ = false;
  if (outcome->status.ok()) self->is_paused_ = is_paused;
  outcome->known.Set();
  co_return absl::OkStatus();
}

Co<absl::Status> GuestContainer::Update(std::string resources_json) {
  auto self = shared_from_this();
  const std::string what = absl::StrCat("updating container \"", options_.id, "\"");
  if (init_->state() == ProcessState::kStopped) co_return absl::FailedPreconditionError(what + ": it has stopped");
  absl::Status checked = CheckResources(resources_json);
  if (!checked.ok()) co_return Annotate(checked, what);
  std::function<Co<absl::Status>()> apply = [self, resources_json] { return self->UpdateInGuest(resources_json); };
  absl::Status updated;
  if (update_handler_) {
    updated = co_await update_handler_(std::move(resources_json), std::move(apply));
  } else {
    updated = co_await apply();
  }
  co_return Annotate(updated, what);
}

Co<absl::Status> GuestContainer::UpdateInGuest(std::string resources_json) {
  auto self = shared_from_this();
  agent::v1::UpdateContainerRequest request;
  request.set_container_id(options_.id);
  request.set_resources_json(std::move(resources_json));
  agent::v1::AgentClient client(connection_);
  auto response = co_await client.UpdateContainer(std::move(request), kAgentCallTimeout);
  co_return response.status();
}

Co<absl::StatusOr<agent::v1::StatsContainerResponse>> GuestContainer::Stats() {
  auto self = shared_from_this();
  const std::string what = absl::StrCat("reading statistics of container \"", options_.id, "\"");
  if (init_->state() == ProcessState::kStopped) co_return absl::NotFoundError(what + ": it has stopped");
  agent::v1::AgentClient client(connection_);
  agent::v1::ProcessId request;
  request.set_container_id(options_.id);
  auto response = co_await client.StatsContainer(std::move(request), kAgentCallTimeout);
  if (!response.ok()) co_return Annotate(response.status(), what);
  absl::Status cleaned = CleanGuestStats(*response);
  if (!cleaned.ok()) co_return Annotate(cleaned, what);
  co_return std::move(*response);
}

void GuestContainer::Watch() {
  Adopt(*init_);
  init_->Watch();
  Spawn(executor_, "waiting for OOM kills", WatchOom(shared_from_this()));
}

void GuestContainer::CountOomKills(uint64_t kills) {
  if (kills <= oom_kills_) return;
  oom_kills_ = kills;
  if (oom_handler_) oom_handler_();
}

// One answer per pause at most: a hostile guest must not flood the events. An exit in between brings its own count.
Co<absl::Status> GuestContainer::WatchOom(std::shared_ptr<GuestContainer> self) {
  while (self->init_->state() != ProcessState::kStopped) {
    agent::v1::WaitOomRequest request;
    request.set_container_id(self->options_.id);
    request.set_seen(self->oom_kills_);
    agent::v1::AgentClient client(self->connection_);
    auto response = co_await client.WaitOom(std::move(request), kNoTimeout);
    if (!response.ok()) co_return absl::OkStatus();  // the container or its machine is gone
    self->CountOomKills(response->oom_kills());
    co_await Sleep(kOomPause);
  }
  co_return absl::OkStatus();
}

}  // namespace kata::virtcontainers
