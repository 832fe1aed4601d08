// SPDX-License-Identifier: Apache-2.0
// support-bundle: one archive of what a bug report needs.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <absl/cleanup/cleanup.h>
#include <absl/strings/str_cat.h>
#include <fmt/format.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"
#include "tools/kata-ctl/command.h"
#include "tools/kata-ctl/support/redact.h"
#include "tools/kata-ctl/support/run_program.h"
#include "tools/management/ask.h"
#include "tools/management/sandboxes.h"
#include "virtcontainers/paths.h"

namespace kata::ctl {
namespace {

namespace fs = std::filesystem;

constexpr char kSelf[] = "/proc/self/exe";
constexpr std::chrono::seconds kProgramTimeout{60};
constexpr size_t kFileMax = 4u << 20;
constexpr size_t kPodsMax = 1000;

struct Options {
  std::string output = "kata-support.tar.gz";
};

// The files of an archive in the making, each without secrets, and the list of them.
class Bundle {
 public:
  explicit Bundle(std::string directory) : directory_(std::move(directory)) {}

  void Add(const std::string& name, const absl::StatusOr<std::string>& text) {
    const std::string path = absl::StrCat(directory_, "/", name);
    const std::string content =
        text.ok() ? Redacted(*text) : absl::StrCat("not to be had: ", text.status().message(), "\n");
    absl::Status status = MakeDirs(fs::path(path).parent_path().string(), 0700);
    if (status.ok()) status = WriteFileAtomically(path, content, 0600);
    absl::StrAppend(&list_, name, " ", content.size(), " bytes",
                    status.ok() ? "" : absl::StrCat(": ", status.message()), "\n");
  }
  const std::string& list() const { return list_; }

 private:
  std::string directory_;
  std::string list_;
};

void AddHost(const Context& context, Bundle& bundle) {
  bundle.Add("check.txt", RunProgram({kSelf, "check"}, kProgramTimeout));
  bundle.Add("env.txt", RunProgram({kSelf, "env"}, kProgramTimeout));
  bundle.Add("config.toml", RunProgram({kSelf, "config", "show"}, kProgramTimeout));
  bundle.Add("pods.txt", RunProgram({kSelf, "ps", "--wide"}, kProgramTimeout));
  bundle.Add("gc.txt", RunProgram({kSelf, "gc"}, kProgramTimeout));
  bundle.Add("shim.txt", RunProgram({context.prefix + "/bin/containerd-shim-kata-v2", "-v"}, kProgramTimeout));
  for (const char* file : {"/etc/os-release", "/proc/version", "/proc/cmdline", "/proc/meminfo", "/proc/cpuinfo",
                           "/proc/cgroups", "/proc/modules", "/proc/self/mountinfo", "/proc/loadavg",
                           "/proc/pressure/memory", "/proc/pressure/cpu", "/proc/pressure/io"})
    bundle.Add(absl::StrCat("host", file), ReadFile(file, kFileMax));
}

void AddPod(const std::string& sandbox, Bundle& bundle) {
  for (const char* page : {"state", "stats", "metrics", "timeline", "console"}) {
    http::Question question;
    question.path = absl::StrCat("/", page);
    bundle.Add(absl::StrCat("pods/", sandbox, "/", page), management::AskShimNow(sandbox, question));
  }
  const std::string log = absl::StrCat(virtcontainers::RuntimeDirectory(sandbox), "/", virtcontainers::kLogName);
  bundle.Add(absl::StrCat("pods/", sandbox, "/log"), ReadFile(log, kFileMax));
}

void AddEnded(Bundle& bundle) {
  std::error_code error;
  for (fs::directory_iterator at(virtcontainers::EndedDirectory(""), error), end; !error && at != end;
       at.increment(error)) {
    const std::string sandbox = at->path().filename().string();
    for (const char* name : {virtcontainers::kLogName, virtcontainers::kConsoleName})
      bundle.Add(absl::StrCat("ended/", sandbox, "/", name),
                 ReadFile(absl::StrCat(at->path().string(), "/", name), kFileMax));
  }
}

absl::Status Support(const Context& context, const Options& options) {
  if (::geteuid() != 0) return absl::PermissionDeniedError("support-bundle: only root can read all of it");
  std::string directory = "/tmp/kata-support-XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) return ErrnoStatus(errno, "making a directory for the files");
  const absl::Cleanup remove = [&directory] {
    std::error_code ignored;
    fs::remove_all(directory, ignored);
  };
  Bundle bundle(directory);
  AddHost(context, bundle);
  std::vector<std::string> sandboxes = management::ListSandboxes();
  if (sandboxes.size() > kPodsMax) sandboxes.resize(kPodsMax);
  for (const std::string& sandbox : sandboxes) AddPod(sandbox, bundle);
  AddEnded(bundle);
  RETURN_IF_ERROR(WriteFileAtomically(directory + "/LIST", bundle.list(), 0600));
  const ::mode_t old_mask = ::umask(0077);
  auto packed = RunProgram({"/bin/tar", "--create", "--gzip", "--file", fs::absolute(options.output).string(),
                            "--directory", directory, "."},
                           kProgramTimeout);
  ::umask(old_mask);
  RETURN_IF_ERROR(packed.status());
  if (!packed->empty()) return absl::UnavailableError(absl::StrCat("packing \"", options.output, "\": ", *packed));
  fmt::print("{}\n{}: these files, without what looks like a secret. Read them before you send them.\n", bundle.list(),
             options.output);
  return absl::OkStatus();
}

}  // namespace

void AddSupportCommand(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* bundle = app.add_subcommand(
      "support-bundle", "one archive of what a bug report needs: this host's state, the pods' logs; no secrets");
  bundle->add_option("-o,--output", options->output, "the archive, default " + options->output);
  bundle->callback([&context, options] { context.run = [&context, options] { return Support(context, *options); }; });
}

}  // namespace kata::ctl
