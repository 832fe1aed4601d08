// SPDX-License-Identifier: Apache-2.0
// Runs the hooks of a container on the host, as root, like the runtimes that need no machine. What is to run when the
// container is gone stands in a record beside the sandbox's other files: the shim's `delete` finds it after a kill.
// Blocking, for as long as the hooks take; pool threads.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include <absl/status/statusor.h>

#include "proto/base/hook.h"
#include "virtcontainers/oci/document.h"

namespace kata::virtcontainers {

class HostHooks {
 public:
  // `directory` gets the record, and is made when there is one.
  static absl::StatusOr<HostHooks> Make(const OciDocument& document, const std::string& id, std::string bundle,
                                        const std::string& directory);
  bool HasCreated() const;  // whether there is anything for Created to do
  bool HasStarted() const;
  // The container is made and its program does not run yet. `pid` is a live process in its network namespace `netns`.
  // From here on the record is there, also after an error.
  absl::Status Created(pid_t pid, int netns) const;
  // Its program runs.
  absl::Status Started(pid_t pid) const;
  // What the hooks that run in the guest read, but for the status and the pid; empty without any.
  std::string GuestState() const { return hooks_.contains("startContainer") ? state_ : ""; }
  // As long as those may take.
  std::chrono::seconds GuestTime() const;
  // The container is gone: runs what the record says, and removes it. Errors are logged, since nobody can act on them.
  void Stopped() const;

 private:
  absl::Status RunAll(const char* point, const std::string& status, pid_t pid, int netns) const;
  absl::Status WriteRecord() const;

  Hooks hooks_;
  std::string state_;
  std::string bundle_;
  std::string poststop_;  // the document's, as JSON
  std::string record_;
};

// As Stopped, for all records in `directory`, within `timeout` altogether.
void RunRecordedHooks(const std::string& directory, std::chrono::milliseconds timeout);

}  // namespace kata::virtcontainers
