// SPDX-License-Identifier: Apache-2.0
#include "proto/base/run_hook.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>

#include "proto/base/child_process.h"
#include "proto/base/fd.h"
#include "proto/base/process.h"
#include "proto/base/status.h"

namespace kata {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kKilledHookTimeout{5};

// A file, so that a hook that does not read holds up nobody.
absl::StatusOr<UniqueFd> MakeInput(const std::string& text) {
  UniqueFd file(::memfd_create("state", MFD_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, "making a file for the state");
  RETURN_IF_ERROR(WriteAll(file.get(), text));
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return ErrnoStatus(errno, "rewinding the state");
  return file;
}

std::vector<std::string> OwnEnvironment() {
  std::vector<std::string> out;
  for (char** at = environ; at != nullptr && *at != nullptr; ++at) out.emplace_back(*at);
  return out;
}

// False at the end of file.
bool ReadSome(int fd, std::string& tail) {
  char buffer[kHookOutputMax];
  const ssize_t n = ::read(fd, buffer, sizeof(buffer));
  if (n == 0) return false;
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  tail.append(buffer, static_cast<size_t>(n));
  if (tail.size() > kHookOutputMax) tail.erase(0, tail.size() - kHookOutputMax);
  return true;
}

// Whether the hook has ended by `end`.
bool Follow(int pidfd, int output, Clock::time_point end, std::string& tail) {
  bool is_open = true;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0) return HasEnded(pidfd, std::chrono::milliseconds(0));
    pollfd sources[2] = {{pidfd, POLLIN, 0}, {is_open ? output : -1, POLLIN, 0}};
    if (::poll(sources, 2, static_cast<int>(std::min<int64_t>(left, INT32_MAX))) < 0 && errno != EINTR) return false;
    if (sources[1].revents != 0) is_open = ReadSome(output, tail);
    if (sources[0].revents == 0) continue;
    // A process that it leaves behind may hold its output open: what is there is all.
    for (pollfd rest{output, POLLIN, 0}; is_open && ::poll(&rest, 1, 0) > 0;) is_open = ReadSome(output, tail);
    return true;
  }
}

absl::Status EndOf(int status, const std::string& output) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  const std::string how = WIFEXITED(status) ? absl::StrCat("it ended with status ", WEXITSTATUS(status))
                                            : absl::StrCat("signal ", WTERMSIG(status), " ended it");
  const absl::string_view said = absl::StripAsciiWhitespace(output);
  return absl::InternalError(said.empty() ? how : absl::StrCat(how, ": ", said));
}

struct Started {
  ChildProcess process;
  UniqueFd output;
};

absl::StatusOr<Started> Start(const Hook& hook, const std::string& state, const HookPlace& place) {
  ASSIGN_OR_RETURN(const UniqueFd input, MakeInput(state));
  ASSIGN_OR_RETURN(OutputPipe output, MakeOutputPipe());
  ChildOptions child;
  child.name = "hook";
  child.words = hook.args.empty() ? std::vector<std::string>{hook.path} : hook.args;
  child.program = hook.path;
  child.environment = hook.environment.has_value() ? *hook.environment : OwnEnvironment();
  child.directory = place.directory;
  child.input = input.get();
  child.output = output.write.get();
  child.dies_with_parent = true;
  if (place.netns >= 0) {
    child.prepare = [netns = place.netns]() -> const char* {
      return ::setns(netns, CLONE_NEWNET) == 0 ? nullptr : "entering the pod's network namespace";
    };
  }
  ASSIGN_OR_RETURN(ChildProcess process, StartChild(child));
  return Started{std::move(process), std::move(output.read)};
}

absl::Status Finish(const Hook& hook, Started& started) {
  ChildProcess& process = started.process;
  std::string said;
  if (!Follow(process.pidfd.get(), started.output.get(), Clock::now() + hook.timeout, said)) {
    ::kill(-process.pid, SIGKILL);  // not collected yet, so the number is still its own
    RETURN_IF_ERROR(EndChild(process, "the hook", kKilledHookTimeout));
    const absl::string_view words = absl::StripAsciiWhitespace(said);
    return absl::DeadlineExceededError(absl::StrCat("it did not end within its ", hook.timeout.count(), " s",
                                                    words.empty() ? "" : absl::StrCat(": ", words)));
  }
  int status = 0;
  while (::waitpid(process.pid, &status, 0) < 0) {
    if (errno != EINTR) return ErrnoStatus(errno, "waiting for it");
  }
  return EndOf(status, said);
}

}  // namespace

absl::Status RunHook(const Hook& hook, const std::string& state, const HookPlace& place) {
  const std::string what = absl::StrCat("hook \"", hook.path, "\"");
  absl::StatusOr<Started> started = Start(hook, state, place);
  if (!started.ok()) return started.status();  // which names it
  return Annotate(Finish(hook, *started), what);
}

}  // namespace kata
