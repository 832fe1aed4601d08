// SPDX-License-Identifier: Apache-2.0
// Makes a template: boots a machine until its agent has answered, saves it, and tries whether a machine goes on from
// there. A process can run one machine only, so boot and trial are each for a process of its own; io thread.
#pragma once

#include <string>

#include "proto/base/coro.h"
#include "virtcontainers/template/template_request.h"
#include "virtcontainers/template/template_store.h"

namespace kata::virtcontainers {

// Ends the machines, and removes the files, of processes that were killed while they made another template than `key`.
// Blocking.
void CleanUpAfterKilled(const TemplateStore& store, const std::string& key);

// `key` names the machine while it is there; what an earlier process of that key has left goes first.
Co<absl::Status> BootAndSave(TemplateRequest request, std::string key, std::string directory);
Co<absl::Status> TryTemplate(TemplateRequest request, std::string key, std::string directory);

}  // namespace kata::virtcontainers
