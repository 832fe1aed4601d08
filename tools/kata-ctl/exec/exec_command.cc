// SPDX-License-Identifier: Apache-2.0
// exec: a program in a container, without containerd.
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

#include "proto/base/fd.h"
#include "proto/base/status.h"
#include "tools/kata-ctl/command.h"
#include "tools/kata-ctl/exec/exec_io.h"
#include "tools/kata-ctl/pods/pod_line.h"
#include "tools/management/ask.h"
#include "tools/management/sandboxes.h"

namespace kata::ctl {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kConfigMax = 4u << 20;
constexpr std::chrono::seconds kAnswerTimeout{60};  // a program may be slow to start

struct Options {
  std::string container;
  std::string directory;
  std::vector<std::string> environment;
  bool has_terminal = false;
  std::vector<std::string> words;
};

// That `word` means in this pod: a container of that beginning, or the only one that runs.
absl::StatusOr<Json> ChooseContainer(const management::Pod& pod, const std::string& word) {
  std::vector<Json> meant;
  std::vector<Json> running;
  for (const Json& container : pod.state.value("containers", Json::array())) {
    if (absl::StartsWith(TextOf(container, "id"), word)) meant.push_back(container);
    if (TextOf(container, "state") == "running") running.push_back(container);
  }
  if (meant.size() == 1) return meant.front();
  if (meant.empty() && running.size() == 1) return running.front();
  std::string names;
  for (const Json& container : running) absl::StrAppend(&names, names.empty() ? "" : ", ", TextOf(container, "id"));
  return absl::InvalidArgumentError(
      absl::StrCat("which container of sandbox \"", pod.sandbox, "\"? Those that run: ", names));
}

// As the container's own first program, but for its words.
absl::StatusOr<Json> ProcessOf(const Json& container, const Options& options) {
  const std::string file = TextOf(container, "bundle") + "/config.json";
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kConfigMax));
  const Json config = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object() || !config.contains("process") || !config["process"].is_object())
    return absl::InvalidArgumentError(absl::StrCat("\"", file, "\" says nothing of the container's process"));
  Json process = config["process"];
  process["args"] = options.words;
  process["terminal"] = options.has_terminal;
  if (!options.directory.empty()) process["cwd"] = options.directory;
  for (const std::string& variable : options.environment) process["env"].push_back(variable);
  return process;
}

absl::StatusOr<Json> Post(const std::string& sandbox, const std::string& path, const Json& body) {
  http::Question question;
  question.method = "POST";
  question.path = path;
  question.body = body.dump();
  ASSIGN_OR_RETURN(const std::string text, management::AskShimNow(sandbox, question, kAnswerTimeout));
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

void Resize(const std::string& sandbox, const std::string& exec_id) {
  winsize size{};
  if (::ioctl(STDIN_FILENO, TIOCGWINSZ, &size) != 0) return;
  Post(sandbox, "/exec/resize", {{"exec", exec_id}, {"width", size.ws_col}, {"height", size.ws_row}})
      .status()
      .IgnoreError();
}

// Until it has ended; its status.
absl::StatusOr<int> Wait(const std::string& sandbox, const std::string& exec_id) {
  while (true) {
    ASSIGN_OR_RETURN(const Json answer, Post(sandbox, "/exec/wait", {{"exec", exec_id}}));
    const auto status = answer.find("exit_status");
    if (status != answer.end() && status->is_number_integer()) return status->get<int>();
  }
}

// Signals for this program come to one thread, which passes on what they mean.
class Signals {
 public:
  Signals() {
    ::sigemptyset(&set_);
    for (const int number : {SIGWINCH, SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::sigaddset(&set_, number);
    ::pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  void PassOn(const std::string& sandbox, const std::string& exec_id) {
    thread_ = std::thread([this, sandbox, exec_id] {
      const timespec pause{0, 100'000'000};
      while (!is_over_) {
        const int number = ::sigtimedwait(&set_, nullptr, &pause);
        if (number == SIGWINCH)
          Resize(sandbox, exec_id);
        else if (number > 0)
          Post(sandbox, "/exec/kill", {{"exec", exec_id}, {"signal", number}}).status().IgnoreError();
      }
    });
  }
  ~Signals() {
    is_over_ = true;
    if (thread_.joinable()) thread_.join();
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

 private:
  sigset_t set_{};
  std::atomic<bool> is_over_{false};
  std::thread thread_;
};

absl::Status Exec(Context& context, const Options& options) {
  ASSIGN_OR_RETURN(const management::Pod pod, management::FindPod(options.container));
  if (!pod.state.is_object()) return absl::UnavailableError(pod.error);
  ASSIGN_OR_RETURN(const Json container, ChooseContainer(pod, options.container));
  ASSIGN_OR_RETURN(const Json process, ProcessOf(container, options));
  Signals signals;  // before any thread
  ASSIGN_OR_RETURN(ExecIo io, ExecIo::Make(options.has_terminal));
  const UniqueFd done(::eventfd(0, EFD_CLOEXEC));
  if (!done.valid()) return ErrnoStatus(errno, "making an eventfd");
  ASSIGN_OR_RETURN(const Json started, Post(pod.sandbox, "/exec",
                                            {{"container", TextOf(container, "id")},
                                             {"process", process},
                                             {"terminal", options.has_terminal},
                                             {"stdin", io.stdin_path()},
                                             {"stdout", io.stdout_path()},
                                             {"stderr", io.stderr_path()}}));
  // Nothing of it stays, however we end.
  io.Forget();
  const std::string exec_id = TextOf(started, "exec");
  if (options.has_terminal) Resize(pod.sandbox, exec_id);
  signals.PassOn(pod.sandbox, exec_id);
  absl::StatusOr<int> status = absl::UnknownError("it was not waited for");
  std::thread waiter([&] {
    status = Wait(pod.sandbox, exec_id);
    const uint64_t one = 1;
    if (::write(done.get(), &one, sizeof(one)) < 0) status = absl::InternalError("an eventfd cannot be written");
  });
  {
    const RawTerminal raw(options.has_terminal);
    io.Copy(done.get(), [&] { Post(pod.sandbox, "/exec/close-stdin", {{"exec", exec_id}}).status().IgnoreError(); });
  }
  waiter.join();
  if (!status.ok()) return status.status();
  context.exit_code = *status;
  return absl::OkStatus();
}

}  // namespace

void AddExecCommand(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* exec = app.add_subcommand("exec", "runs a program in a container, also while containerd is down");
  exec->add_flag("-t,--terminal", options->has_terminal, "with a terminal, as ours is");
  exec->add_option("--cwd", options->directory, "where it runs, instead of where the container's first program does");
  exec->add_option("--env", options->environment, "NAME=VALUE besides the container's environment")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  exec->add_option("POD", options->container, "a container, or a pod of which only one runs")->required();
  exec->add_option("COMMAND", options->words, "the program and its words; -- before them where one begins with -")
      ->required();
  exec->callback([&context, options] { context.run = [&context, options] { return Exec(context, *options); }; });
}

}  // namespace kata::ctl
