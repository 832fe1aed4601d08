// SPDX-License-Identifier: Apache-2.0
// Where a sandbox is on the host, and which ids may become parts of such paths. Pure.
#pragma once

#include <cstddef>
#include <string>

namespace kata::virtcontainers {

inline constexpr size_t kIdSizeMax = 76;         // as containerd's
inline constexpr size_t kSandboxIdSizeMax = 96;  // with what makes it unique on the host

// [A-Za-z0-9][A-Za-z0-9._-]{0,75}
bool IsValidId(const std::string& id);
// As above but for the size; "shared", "ended" and "direct-volumes" are taken by directories beside the sandboxes'.
bool IsValidSandboxId(const std::string& id);

// Directories of a sandbox, as in the documents: /run/kata-containers/<id> and /run/kata-containers/shared/<id>.
std::string RuntimeDirectory(const std::string& sandbox_id);
std::string SharedDirectory(const std::string& sandbox_id);
// A file of the first one: the socket on which the sandbox's shim answers about it (shimv2/management).
inline constexpr char kManagementSocket[] = "http.sock";
// Files of the first one: the log of the sandbox's shim, and the last lines of its guest's console once it has ended.
inline constexpr char kLogName[] = "log";
inline constexpr char kConsoleName[] = "console";
// Where they are when the sandbox is gone: /run/kata-containers/ended/<id>.
std::string EndedDirectory(const std::string& sandbox_id);
// A file of the first one: where the sandbox has joined a network (network/endpoints.h).
std::string EndpointsRecord(const std::string& sandbox_id);
// A file of the first one: when the steps of its start were taken (tools/timeline).
std::string TimelineFile(const std::string& sandbox_id);
// A directory of the first one: which hooks are to run when containers are gone (container/host_hooks.h).
std::string HooksDirectory(const std::string& sandbox_id);

}  // namespace kata::virtcontainers
