// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bootstrap/start_input.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "proto/base/status.h"
#include "proto/schema/bootstrap.pb.h"
#include "shimv2/pod/runtime_options.h"

namespace kata::shimv2 {
namespace {

using Clock = std::chrono::steady_clock;
using containerd::runtime::bootstrap::v1::BootstrapParams;

constexpr char kWhat[] = "reading the options on standard input";

absl::StatusOr<StartInput> FromBootstrap(const BootstrapParams& params) {
  StartInput out;
  out.socket_directory = params.socket_dir();
  if (!out.socket_directory.empty() && out.socket_directory[0] != '/') {
    return absl::InvalidArgumentError(
        absl::StrCat(kWhat, ": socket directory \"", out.socket_directory, "\" is not an absolute path"));
  }
  for (const auto& extension : params.extensions()) {
    wire::Any any = Unwrapped(extension.value());
    if (!IsRuntimeOptions(any)) continue;
    out.options = std::move(any);
    break;
  }
  return out;
}

}  // namespace

absl::StatusOr<std::string> ReadCallerInput(int fd, std::chrono::milliseconds timeout) {
  std::string out;
  if (::isatty(fd) == 1) return out;
  const Clock::time_point end = Clock::now() + timeout;
  std::array<char, 65536> buffer;
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    pollfd entry{fd, POLLIN, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return ErrnoStatus(errno, kWhat);
    if (ready == 0) {
      if (out.empty()) return out;
      return absl::DeadlineExceededError(absl::StrCat(kWhat, ": its end did not come within ", timeout.count(), " ms"));
    }
    if ((entry.revents & POLLNVAL) != 0) return out;
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return ErrnoStatus(errno, kWhat);
    if (n == 0) return out;
    out.append(buffer.data(), static_cast<size_t>(n));
    if (out.size() > kCallerInputMax) {
      return absl::ResourceExhaustedError(absl::StrCat(kWhat, ": more than ", kCallerInputMax, " bytes came"));
    }
  }
}

absl::StatusOr<StartInput> ParseStartInput(const std::string& bytes, const std::string& container_id,
                                           const std::string& name_space) {
  BootstrapParams params;
  if (params.ParseFromString(bytes) && params.instance_id() == container_id && params.namespace_() == name_space) {
    return FromBootstrap(params);
  }
  StartInput out;
  if (!out.options.ParseFromString(bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat(kWhat, ": they are neither a google.protobuf.Any nor BootstrapParams"));
  }
  out.options = Unwrapped(std::move(out.options));
  return out;
}

}  // namespace kata::shimv2
