// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/container/host_hooks.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

#include "proto/base/fd.h"
#include "proto/base/log.h"
#include "proto/base/run_hook.h"
#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kShortestHook{500};
constexpr size_t kRecordSizeMax = 4 * kConfigJsonSizeMax;  // its texts are quoted once more
constexpr char kRecordSuffix[] = ".json";

// Each runs whatever came of the one before.
void RunRecord(const std::string& record, Clock::time_point end) {
  auto text = ReadFile(record, kRecordSizeMax);
  if (absl::IsNotFound(text.status())) return;
  const Json json = text.ok() ? Json::parse(*text, nullptr, false) : Json();
  auto hooks = json.is_object() ? ReadHooks(json.value("hooks", Json())) : absl::InvalidArgumentError("it is damaged");
  if (!hooks.ok()) {
    log::Warn("reading \"{}\": {}", record, hooks.status().message());
  } else {
    const HookPlace place{json.value("directory", "/"), -1};
    std::vector<Hook>& all = (*hooks)["poststop"];
    for (size_t i = 0; i < all.size(); ++i) {
      const auto left = std::chrono::duration_cast<std::chrono::seconds>(end - Clock::now() + kShortestHook);
      all[i].timeout = std::clamp(left, std::chrono::seconds(1), all[i].timeout);
      // The bundle may be gone already.
      HookPlace there = place;
      if (!std::filesystem::exists(there.directory)) there.directory = "/";
      absl::Status status = RunHook(all[i], json.value("state", ""), there);
      if (!status.ok()) log::Warn("running hooks.poststop[{}]: {}", i, status.message());
    }
  }
  ::unlink(record.c_str());
}

}  // namespace

absl::StatusOr<HostHooks> HostHooks::Make(const OciDocument& document, const std::string& id, std::string bundle,
                                          const std::string& directory) {
  const Json& json = document.json();
  HostHooks out;
  const Json hooks = json.value("hooks", Json());
  ASSIGN_OR_RETURN(out.hooks_, ReadHooks(hooks));
  if (out.hooks_.contains("poststop")) out.poststop_ = Json{{"poststop", hooks["poststop"]}}.dump();
  out.state_ = HookState(json, id, bundle);
  out.record_ = absl::StrCat(directory, "/", id, kRecordSuffix);
  out.bundle_ = std::move(bundle);
  return out;
}

bool HostHooks::HasCreated() const {
  return !poststop_.empty() || hooks_.contains("prestart") || hooks_.contains("createRuntime") ||
         hooks_.contains("createContainer");
}

bool HostHooks::HasStarted() const { return hooks_.contains("poststart"); }

std::chrono::seconds HostHooks::GuestTime() const {
  std::chrono::seconds sum{0};
  if (const auto at = hooks_.find("startContainer"); at != hooks_.end()) {
    for (const Hook& hook : at->second) sum += hook.timeout;
  }
  return sum;
}

absl::Status HostHooks::Created(pid_t pid, int netns) const {
  RETURN_IF_ERROR(WriteRecord());
  RETURN_IF_ERROR(RunAll("prestart", "creating", pid, -1));
  RETURN_IF_ERROR(RunAll("createRuntime", "creating", pid, -1));
  return RunAll("createContainer", "creating", pid, netns);
}

absl::Status HostHooks::Started(pid_t pid) const { return RunAll("poststart", "running", pid, -1); }

void HostHooks::Stopped() const {
  if (!poststop_.empty()) RunRecord(record_, Clock::time_point::max() - kShortestHook);
}

absl::Status HostHooks::RunAll(const char* point, const std::string& status, pid_t pid, int netns) const {
  const auto at = hooks_.find(point);
  if (at == hooks_.end()) return absl::OkStatus();
  const std::string state = WithStatus(state_, status, pid);
  for (size_t i = 0; i < at->second.size(); ++i) {
    absl::Status run = RunHook(at->second[i], state, {bundle_, netns});
    if (!run.ok()) return Annotate(run, absl::StrCat("running hooks.", point, "[", i, "]"));
  }
  return absl::OkStatus();
}

absl::Status HostHooks::WriteRecord() const {
  if (poststop_.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(MakeDirs(record_.substr(0, record_.rfind('/')), 0700));
  const Json json = {
      {"hooks", Json::parse(poststop_)}, {"state", WithStatus(state_, "stopped", 0)}, {"directory", bundle_}};
  return WriteFileAtomically(record_, json.dump(-1, ' ', false, Json::error_handler_t::replace), 0600);
}

void RunRecordedHooks(const std::string& directory, std::chrono::milliseconds timeout) {
  const auto end = Clock::now() + timeout;
  std::error_code error;
  std::vector<std::string> records;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (entry.path().extension() == kRecordSuffix) records.push_back(entry.path());
  }
  std::sort(records.begin(), records.end());
  for (const std::string& record : records) RunRecord(record, end);
}

}  // namespace kata::virtcontainers
