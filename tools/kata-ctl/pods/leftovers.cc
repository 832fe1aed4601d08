// SPDX-License-Identifier: Apache-2.0
#include "tools/kata-ctl/pods/leftovers.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <system_error>
#include <thread>

#include <absl/strings/str_cat.h>

#include "proto/base/status.h"
#include "tools/management/ask.h"
#include "tools/management/sandboxes.h"
#include "virtcontainers/paths.h"
#include "virtcontainers/sandbox.h"

namespace kata::ctl {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kRemovalTimeout{10};
// A shim that is starting has bound its socket for a moment before it listens there.
constexpr std::chrono::milliseconds kSecondLook{300};

std::map<std::string, absl::Status> AskHealth(const std::vector<std::string>& sandboxes) {
  http::Question question;
  question.path = "/healthz";
  std::map<std::string, absl::Status> out;
  for (const auto& [sandbox, answer] : management::AskShimsNow(sandboxes, question)) out[sandbox] = answer.status();
  return out;
}

bool IsEmpty(const std::string& directory) {
  std::error_code error;
  return fs::is_empty(directory, error) && !error;
}

// Directories of shares whose sandbox has none any more: they are made after it and removed before it.
void FindShares(std::vector<Leftover>& out) {
  std::error_code error;
  const std::string directory = virtcontainers::SharedDirectory("");
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (!virtcontainers::IsValidSandboxId(name) || fs::exists(virtcontainers::RuntimeDirectory(name))) continue;
    out.push_back({name, "a directory for shared files without a sandbox"});
  }
}

}  // namespace

std::vector<Leftover> FindLeftovers() {
  std::vector<std::string> refused;
  std::vector<Leftover> out;
  for (const auto& [sandbox, status] : AskHealth(management::ListSandboxes())) {
    const std::string directory = virtcontainers::RuntimeDirectory(sandbox);
    if (absl::IsUnavailable(status)) refused.push_back(sandbox);
    if (!absl::IsNotFound(status) || !fs::exists(directory)) continue;
    if (IsEmpty(directory))
      out.push_back({sandbox, "an empty directory"});
    else
      out.push_back({sandbox, "no management socket: of a shim of an older version, which may live", false});
  }
  if (!refused.empty()) std::this_thread::sleep_for(kSecondLook);
  for (const auto& [sandbox, status] : AskHealth(refused)) {
    if (absl::IsUnavailable(status)) out.push_back({sandbox, "its shim has ended"});
  }
  FindShares(out);
  return out;
}

absl::Status RemoveLeftover(const Leftover& leftover) {
  // A pod of the same name may have come meanwhile.
  const std::vector<Leftover> now = FindLeftovers();
  const bool is_left = std::any_of(now.begin(), now.end(), [&leftover](const Leftover& one) {
    return one.sandbox == leftover.sandbox && one.may_be_removed;
  });
  if (!is_left) return absl::OkStatus();
  const std::string directory = virtcontainers::RuntimeDirectory(leftover.sandbox);
  // One that a shim has just made stays: it is not empty any more, or is made again.
  if (IsEmpty(directory)) {
    if (::rmdir(directory.c_str()) == 0 || errno == ENOENT || errno == ENOTEMPTY) return absl::OkStatus();
    return ErrnoStatus(errno, absl::StrCat("removing \"", directory, "\""));
  }
  return Annotate(virtcontainers::CleanUpSandbox(leftover.sandbox, kRemovalTimeout),
                  absl::StrCat("removing what is left of sandbox \"", leftover.sandbox, "\""));
}

}  // namespace kata::ctl
