// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/child_reaper.h"

#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::hypervisors {
namespace {

constexpr std::chrono::seconds kLeaderDelay{1};
constexpr size_t kProcFileMax = 1u << 20;

struct ProcessState {
  std::string program;
  char state = '?';
  pid_t session = 0;
};

bool ReadProcess(pid_t pid, ProcessState* process) {
  absl::StatusOr<std::string> text = ReadFile("/proc/" + std::to_string(pid) + "/stat", kProcFileMax);
  if (!text.ok()) return false;
  const size_t open = text->find('(');
  const size_t close = text->rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return false;
  process->program = text->substr(open + 1, close - open - 1);
  int parent = 0;
  int group = 0;
  return std::sscanf(text->c_str() + close + 1, " %c %d %d %d", &process->state, &parent, &group, &process->session) ==
         4;
}

std::vector<pid_t> Children() {
  std::vector<pid_t> children;
  DIR* tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return children;
  while (const dirent* entry = readdir(tasks)) {
    if (entry->d_name[0] == '.') continue;
    absl::StatusOr<std::string> text =
        ReadFile(std::string("/proc/self/task/") + entry->d_name + "/children", kProcFileMax);
    if (!text.ok()) continue;
    std::istringstream words(*text);
    pid_t pid = 0;
    while (words >> pid) children.push_back(pid);
  }
  closedir(tasks);
  return children;
}

void Collect(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, WNOHANG);
}

}  // namespace

ChildReaper::ChildReaper(asio::any_io_executor executor, std::string program_prefix)
    : signals_(executor), timer_(executor), program_prefix_(std::move(program_prefix)) {}

absl::Status ChildReaper::Start() {
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) return ErrnoStatus(errno, "become a subreaper");
  boost::system::error_code ec;
  signals_.add(SIGCHLD, ec);
  if (ec) return FromErrorCode(ec, "listen to SIGCHLD");
  ListenForSignal();
  return absl::OkStatus();
}

void ChildReaper::Stop() {
  is_stopped_ = true;
  boost::system::error_code ignored;
  signals_.cancel(ignored);
  timer_.cancel();
}

void ChildReaper::ListenForSignal() {
  signals_.async_wait([weak = weak_from_this()](boost::system::error_code ec, int) {
    std::shared_ptr<ChildReaper> self = weak.lock();
    if (ec || self == nullptr || self->is_stopped_) return;
    if (self->Scan()) self->ScanLater();
    self->ListenForSignal();
  });
}

void ChildReaper::ScanLater() {
  if (is_timer_set_) return;
  is_timer_set_ = true;
  timer_.expires_after(kLeaderDelay);
  timer_.async_wait([weak = weak_from_this()](boost::system::error_code ec) {
    std::shared_ptr<ChildReaper> self = weak.lock();
    if (ec || self == nullptr || self->is_stopped_) return;
    self->is_timer_set_ = false;
    if (self->Scan()) self->ScanLater();
  });
}

bool ChildReaper::Scan() {
  const pid_t own_session = getsid(0);
  const auto now = std::chrono::steady_clock::now();
  std::map<int, std::chrono::steady_clock::time_point> waiting;
  for (pid_t pid : Children()) {
    ProcessState process;
    if (!ReadProcess(pid, &process) || process.state != 'Z' || process.session == own_session) continue;
    if (process.session != pid) {
      Collect(pid);
      continue;
    }
    if (process.program.rfind(program_prefix_, 0) != 0) continue;
    const auto seen = leaders_.find(pid);
    const auto since = seen == leaders_.end() ? now : seen->second;
    if (now - since >= kLeaderDelay) {
      Collect(pid);
    } else {
      waiting.emplace(pid, since);
    }
  }
  leaders_ = std::move(waiting);
  return !leaders_.empty();
}

}  // namespace kata::hypervisors
