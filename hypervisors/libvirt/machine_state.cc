// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/machine_state.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

#include "hypervisors/state/checked_file.h"
#include "hypervisors/state/memory_file.h"
#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::hypervisors {
namespace {

constexpr char kMemoryFile[] = "/memory";
constexpr char kDevicesFile[] = "/devices";
constexpr std::chrono::seconds kDevicesTimeout{30};  // some hundred KiB
constexpr std::chrono::milliseconds kDevicesPoll{1};
constexpr uint64_t kMib = 1u << 20;
// Shared memory stays out of the stream: it is saved and filled here.
constexpr char kShareCapability[] =
    R"({"execute":"migrate-set-capabilities","arguments":{"capabilities":[{"capability":"x-ignore-shared","state":true}]}})";
constexpr char kHandOver[] = R"({"execute":"getfd","arguments":{"fdname":"state"}})";
constexpr char kWrite[] = R"({"execute":"migrate","arguments":{"uri":"fd:state"}})";
constexpr char kRead[] = R"({"execute":"migrate-incoming","arguments":{"uri":"fd:state"}})";
constexpr char kQuestion[] = R"({"execute":"query-migrate"})";

// The memfd that QEMU has as the machine's memory.
absl::StatusOr<UniqueFd> OpenMemory(pid_t pid, uint64_t size) {
  const std::string directory = absl::StrCat("/proc/", pid, "/fd");
  std::error_code ec;
  for (std::filesystem::directory_iterator it(directory, ec), end; !ec && it != end; it.increment(ec)) {
    std::error_code unreadable;
    const std::string target = std::filesystem::read_symlink(it->path(), unreadable).string();
    if (unreadable || !absl::StartsWith(target, "/memfd:memory-backend-memfd")) continue;
    UniqueFd fd(::open(it->path().c_str(), O_RDWR | O_CLOEXEC));
    struct stat info {};
    if (fd.valid() && ::fstat(fd.get(), &info) == 0 && static_cast<uint64_t>(info.st_size) == size) return fd;
  }
  return absl::NotFoundError("QEMU has no file for the machine's memory");
}

std::string TextOf(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

absl::Status WaitForDevices(LibvirtSession& session) {
  const auto until = std::chrono::steady_clock::now() + kDevicesTimeout;
  for (;;) {
    ASSIGN_OR_RETURN(const std::string text, session.Monitor(kQuestion, -1));
    const nlohmann::json answer = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    const std::string status = TextOf(answer, "status");
    if (status == "completed") return absl::OkStatus();
    if (status == "failed" || status == "cancelled") {
      return absl::InternalError(absl::StrCat("QEMU has ", status, ": ", TextOf(answer, "error-desc")));
    }
    if (std::chrono::steady_clock::now() >= until) return absl::DeadlineExceededError("QEMU does not come to an end");
    std::this_thread::sleep_for(kDevicesPoll);
  }
}

absl::Status SaveDevices(LibvirtSession& session, const std::string& path) {
  ASSIGN_OR_RETURN(const UniqueFd file, CreateChecked(path));
  RETURN_IF_ERROR(session.Monitor(kShareCapability, -1).status());
  RETURN_IF_ERROR(session.Monitor(kHandOver, file.get()).status());
  RETURN_IF_ERROR(session.Monitor(kWrite, -1).status());
  RETURN_IF_ERROR(WaitForDevices(session));
  return SealChecked(file.get(), path);
}

absl::Status LoadDevices(LibvirtSession& session, const std::string& path) {
  ASSIGN_OR_RETURN(const CheckedFile file, OpenChecked(path));
  RETURN_IF_ERROR(CheckPayload(file, path));
  RETURN_IF_ERROR(session.Monitor(kShareCapability, -1).status());
  RETURN_IF_ERROR(session.Monitor(kHandOver, file.fd.get()).status());
  RETURN_IF_ERROR(session.Monitor(kRead, -1).status());
  return WaitForDevices(session);
}

}  // namespace

absl::Status SaveState(LibvirtSession& session, pid_t pid, const VmSpec& spec, const std::string& directory) {
  RETURN_IF_ERROR(Annotate(SaveDevices(session, directory + kDevicesFile), "saving the machine's devices"));
  const uint64_t size = spec.memory_mib * kMib;
  ASSIGN_OR_RETURN(const UniqueFd memory, OpenMemory(pid, size));
  return Annotate(SaveMemory(memory.get(), size, directory + kMemoryFile), "saving the machine's memory");
}

absl::Status LoadState(LibvirtSession& session, pid_t pid, const VmSpec& spec, const std::string& directory) {
  const uint64_t size = spec.memory_mib * kMib;
  ASSIGN_OR_RETURN(const UniqueFd memory, OpenMemory(pid, size));
  RETURN_IF_ERROR(Annotate(LoadMemory(directory + kMemoryFile, memory.get(), size), "loading the machine's memory"));
  return Annotate(LoadDevices(session, directory + kDevicesFile), "loading the machine's devices");
}

}  // namespace kata::hypervisors
