// SPDX-License-Identifier: Apache-2.0
// Pause, resume, new limits and removal of a container.
#include <utility>

#include "agent/base/errors.h"
#include "agent/container/container.h"

namespace kata::agent {
namespace {

constexpr std::chrono::seconds kKillTimeout{10};
constexpr std::chrono::milliseconds kCgroupRetryDelay{5};
constexpr int kCgroupRetriesMax = 1000;

}  // namespace

Co<bool> Container::SetUpsEnd(std::chrono::nanoseconds timeout) {
  if (setups_ == 0) co_return true;
  if (setups_ended_ == nullptr) setups_ended_ = std::make_shared<Latch>(executor_);
  auto ended = setups_ended_;
  co_return co_await ended->WaitFor(timeout);
}

Co<absl::Status> Container::Pause() {
  auto self = shared_from_this();
  CO_RETURN_IF_ERROR(RequireRunning("pausing"));
  if (freezer_ != Freezer::kThawed) {
    co_return absl::FailedPreconditionError(absl::StrCat("pausing container \"", id_, "\": it is paused already"));
  }
  // New execs are refused from here on, and those under way finish: half-made they would count as
  // hanging ones.
  freezer_ = Freezer::kFreezing;
  const bool have_ended = co_await SetUpsEnd(kFreezeTimeout);
  absl::Status status;
  if (!have_ended) status = absl::DeadlineExceededError("an exec does not get ready");
  if (status.ok() && (is_doomed_ || init_->exited.is_set())) status = absl::FailedPreconditionError("it has ended");
  if (status.ok()) {
    FreezeTarget target{.cgroup = cgroup_->path(), .is_frozen = true};
    status = co_await SetFrozen(collaborators_.watcher, std::move(target));
  }
  freezer_ = status.ok() ? Freezer::kFrozen : Freezer::kThawed;
  co_return Annotate(status, absl::StrCat("pausing container \"", id_, "\""));
}

Co<absl::Status> Container::Resume() {
  auto self = shared_from_this();
  if (freezer_ != Freezer::kFrozen || is_doomed_) {
    co_return absl::FailedPreconditionError(absl::StrCat("resuming container \"", id_, "\": it is not paused"));
  }
  freezer_ = Freezer::kThawing;
  FreezeTarget target{.cgroup = cgroup_->path(), .is_frozen = false};
  absl::Status status = co_await SetFrozen(collaborators_.watcher, std::move(target));
  freezer_ = status.ok() ? Freezer::kThawed : Freezer::kFrozen;
  co_return Annotate(status, absl::StrCat("resuming container \"", id_, "\""));
}

absl::Status Container::Update(const Resources& resources) {
  const std::string what = absl::StrCat("updating container \"", id_, "\"");
  const bool is_alive = Find("") != nullptr && !init_->exited.is_set() && !is_doomed_;
  if (!is_alive) return absl::FailedPreconditionError(what + ": it has no process");
  return Annotate(cgroup_->Update(resources), what);
}

absl::Status Container::Rebound() {
  return cgroup_ ? cgroup_->Rebound(collaborators_.parent_cgroup) : absl::OkStatus();
}

// They are not in the container's cgroup yet.
void Container::KillSetUps() {
  if (init_ != nullptr && !init_->exited.is_set()) KillSetUp(*init_);
  for (const auto& [id, exec] : execs_) {
    if (exec->is_setting_up) KillSetUp(*exec);
  }
}

Co<absl::Status> Container::RemoveCgroup() {
  for (int i = 0; i < kCgroupRetriesMax; ++i) {
    absl::Status status = co_await cgroup_->Remove();
    if (!absl::IsFailedPrecondition(status)) co_return status;
    // A process forked while the kill ran, or one not yet reaped.
    static_cast<void>(cgroup_->Kill().ok());
    co_await Sleep(kCgroupRetryDelay);
  }
  co_return absl::InternalError(absl::StrCat("removing container \"", id_, "\": processes do not end"));
}

Co<absl::Status> Container::RemoveOnce() {
  if (!cgroup_) co_return absl::OkStatus();
  CO_RETURN_IF_ERROR(cgroup_->Kill());
  KillSetUps();
  // After the kill, which works on frozen processes: nothing runs again.
  if (freezer_ != Freezer::kThawed) ThawSoon(cgroup_->path());
  auto init = init_;
  if (init != nullptr && init->pid > 0) {
    bool has_ended = co_await init->exited.WaitFor(kKillTimeout);
    if (!has_ended) {
      co_return absl::InternalError(absl::StrCat("removing container \"", id_, "\": init does not end"));
    }
  }
  // Their children are dead, so that they end with an error; they use what is removed here.
  bool have_ended = co_await SetUpsEnd(kKillTimeout);
  if (!have_ended) {
    co_return absl::InternalError(absl::StrCat("removing container \"", id_, "\": a process in set-up does not end"));
  }
  CO_RETURN_IF_ERROR(co_await RemoveCgroup());
  oom_->Close();
  cgroup_.reset();
  co_return absl::OkStatus();
}

Co<absl::Status> Container::Remove() {
  auto self = shared_from_this();
  is_doomed_ = true;
  while (removal_ != nullptr) {
    auto other = removal_;
    co_await other->Wait();
  }
  removal_ = std::make_shared<Latch>(executor_);
  absl::Status status = co_await RemoveOnce();
  auto removal = std::exchange(removal_, nullptr);
  removal->Set();
  co_return status;
}

}  // namespace kata::agent
