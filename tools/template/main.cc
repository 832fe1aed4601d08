// SPDX-License-Identifier: Apache-2.0
// kata-template: makes, lists and removes the templates that pods go on from. A pod's shim runs it where one is
// missing; docs/how-to.md says what people do with it.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <filesystem>

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>
#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "hypervisors/hypervisor.h"
#include "proto/base/child_process.h"
#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/base/version.h"
#include "virtcontainers/config/config.h"
#include "virtcontainers/sandbox/machine_spec.h"
#include "virtcontainers/sandbox/sandbox_template.h"
#include "virtcontainers/size/pod_size.h"
#include "virtcontainers/template/template_builder.h"
#include "virtcontainers/template/template_store.h"

namespace kata::virtcontainers {
namespace {

constexpr int kNiceness = 10;  // pods come first
constexpr size_t kOutputMax = 1u << 20;
constexpr size_t kReasonMax = 1024;

int Say(const absl::Status& status) {
  if (status.ok()) return 0;
  std::fprintf(stderr, "kata-template: %s\n", std::string(status.message()).c_str());
  return 1;
}

std::string Prefix() {
  // <prefix>/libexec/kata-containers/kata-template
  std::error_code ignored;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  return program.parent_path().parent_path().parent_path().string();
}

// One of the two steps, in a process that ends with it.
int RunStep(bool is_trial, const std::string& text, const std::string& key, const std::string& directory) {
  auto request = ParseTemplateRequest(text);
  if (!request.ok()) return Say(request.status());
  UseOwnUser(request->spec);
  absl::Status status = absl::UnknownError("it has not ended");
  asio::io_context context(1);
  asio::co_spawn(
      context,
      is_trial ? TryTemplate(*std::move(request), key, directory) : BootAndSave(*std::move(request), key, directory),
      [&status, &context](std::exception_ptr error, absl::Status result) {
        if (!error) status = std::move(result);
        context.stop();
      });
  context.run();
  return Say(status);
}

// What it wrote is the reason of its failure.
absl::Status RunStepApart(const std::string& step, const std::string& text, const std::string& key,
                          const std::string& directory) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, "making a pipe");
  const UniqueFd output(ends[0]);
  UniqueFd input(ends[1]);
  ChildOptions options;
  options.name = "kata-template";
  options.program = "/proc/self/exe";
  options.words = {"kata-template", step, key, directory, text};
  options.output = input.get();
  options.dies_with_parent = true;
  ASSIGN_OR_RETURN(const ChildProcess child, StartChild(options));
  input.reset();
  const auto words = ReadAll(output.get(), kOutputMax);
  int ended = 0;
  if (::waitpid(child.pid, &ended, 0) == child.pid && WIFEXITED(ended) && WEXITSTATUS(ended) == 0)
    return absl::OkStatus();
  std::string last(absl::StripAsciiWhitespace(words.value_or("")));
  if (last.size() > kReasonMax) last.erase(0, last.size() - kReasonMax);
  return absl::InternalError(last.empty() ? absl::StrCat("its step \"", step, "\" ended without a word") : last);
}

absl::Status MakeNow(const std::string& text) {
  ASSIGN_OR_RETURN(const TemplateRequest request, ParseTemplateRequest(text));
  const TemplateStore store(request.store);
  hypervisors::VmSpec spec = request.spec;
  spec.guest_words[kTokenWord];
  ASSIGN_OR_RETURN(const std::string shape, hypervisors::ShapeOf(spec));
  const std::string key = TemplateStore::KeyOf(shape);
  ASSIGN_OR_RETURN(const UniqueFd lock, store.Lock(key));
  absl::Status status;
  CleanUpAfterKilled(store, key);
  const auto fresh = store.Begin(key);
  status = fresh.status();
  if (status.ok()) status = WriteFileAtomically(*fresh + "/shape", shape, 0600);
  if (status.ok()) status = RunStepApart("boot", text, key, *fresh);
  if (status.ok()) status = RunStepApart("try", text, key, *fresh);
  if (status.ok()) status = store.Publish(key);
  if (!status.ok()) store.GiveUp(key, std::string(status.message()));
  const absl::Status pruned = store.Prune();
  return status.ok() ? pruned : status;
}

absl::Status Build(const std::string& config_file) {
  ASSIGN_OR_RETURN(Config config, LoadConfig(Prefix(), config_file));
  if (!config.enable_template) {
    std::fprintf(stderr,
                 "kata-template: warning: \"%s\" does not enable templates (enable_template), so no pod uses it\n",
                 config.file.c_str());
  }
  config.enable_template = true;
  if (!CanBeClone(config)) {
    return absl::FailedPreconditionError(
        absl::StrCat("\"", config.file,
                     "\": machines go on from a template only with shared_fs \"virtio-fs\" and "
                     "agent_transport \"auto\" or \"virtio-serial\""));
  }
  FitMachine(PodSize(), ReadHostSize(), false, false, config);
  TemplateRequest request;
  request.store = config.template_path;
  request.dial_timeout = config.dial_timeout;
  SandboxOptions options;
  options.config = std::move(config);
  request.spec = MakeMachineSpec(options, BootToken());
  return MakeNow(ToText(request));
}

absl::StatusOr<TemplateStore> StoreOf(const std::string& config_file) {
  ASSIGN_OR_RETURN(const Config config, LoadConfig(Prefix(), config_file));
  return TemplateStore(config.template_path);
}

absl::Status List(const std::string& config_file) {
  ASSIGN_OR_RETURN(const TemplateStore store, StoreOf(config_file));
  ASSIGN_OR_RETURN(const std::vector<TemplateInfo> all, store.List());
  for (const TemplateInfo& entry : all) {
    char time[32] = "";
    const time_t used_at = entry.used_at;
    struct tm parts {};
    ::strftime(time, sizeof(time), "%F %T", ::localtime_r(&used_at, &parts));
    const std::string state =
        entry.why_not.empty() ? fmt::format("{:.1f} MiB, used {}", static_cast<double>(entry.bytes) / (1 << 20), time)
                              : absl::StrCat("not made ", time, ": ", entry.why_not);
    std::printf("%s  %s\n", entry.key.c_str(), state.c_str());
  }
  return absl::OkStatus();
}

absl::Status Remove(const std::string& config_file, const std::vector<std::string>& keys, bool is_all) {
  ASSIGN_OR_RETURN(const TemplateStore store, StoreOf(config_file));
  ASSIGN_OR_RETURN(const std::vector<TemplateInfo> all, store.List());
  std::vector<std::string> wanted = keys;
  for (const TemplateInfo& entry : all) {
    if (is_all) wanted.push_back(entry.key);
  }
  for (const std::string& word : wanted) {
    // The beginning of a name will do, as with containers.
    std::vector<std::string> found;
    for (const TemplateInfo& entry : all) {
      if (!word.empty() && entry.key.compare(0, word.size(), word) == 0) found.push_back(entry.key);
    }
    if (found.size() != 1) {
      return absl::NotFoundError(
          absl::StrCat("\"", word, "\": ", found.empty() ? "no template begins so" : "several templates begin so"));
    }
    RETURN_IF_ERROR(store.Remove(found.front()));
  }
  return absl::OkStatus();
}

// It belongs to nobody from here on.
void Detach() {
  if (::fork() > 0) ::_exit(0);
  ::setsid();
  if (::nice(kNiceness) == -1) log::Debug("it runs with the priority of pods");
}

int Run(int argc, char** argv) {
  CLI::App app("Templates: saved machines that pods go on from instead of booting.");
  app.require_subcommand(1);
  app.set_version_flag("--version", "kata-template " + BuildText());
  std::string config;
  const auto with_config = [&config](CLI::App* command) {
    command->add_option("--config", config, "the configuration file; default: the one that pods use");
    return command;
  };
  CLI::App* const build = with_config(app.add_subcommand("build", "make the template of a configuration, now"));
  CLI::App* const list = with_config(app.add_subcommand("list", "the host's templates, the last used one first"));
  CLI::App* const remove = with_config(app.add_subcommand("remove", "remove templates; pods made from them live on"));
  std::vector<std::string> keys;
  bool is_all = false;
  remove->add_option("NAME", keys, "a template's name, or the beginning of it");
  remove->add_flag("--all", is_all, "all of them");
  // What a shim and this program itself run.
  CLI::App* const make = app.add_subcommand("make")->group("");
  CLI::App* const boot = app.add_subcommand("boot")->group("");
  CLI::App* const trial = app.add_subcommand("try")->group("");
  bool is_detached = false;
  std::string request;
  std::string key;
  std::string directory;
  make->add_flag("--detach", is_detached);
  make->add_option("REQUEST", request)->required();
  for (CLI::App* const step : {boot, trial}) {
    step->add_option("KEY", key)->required();
    step->add_option("DIRECTORY", directory)->required();
    step->add_option("REQUEST", request)->required();
  }
  CLI11_PARSE(app, argc, argv);
  if (*build) return Say(Build(config));
  if (*list) return Say(List(config));
  if (*remove) return Say(Remove(config, keys, is_all));
  if (*boot || *trial) return RunStep(trial->parsed(), request, key, directory);
  if (is_detached) Detach();
  return Say(MakeNow(request));
}

}  // namespace
}  // namespace kata::virtcontainers

int main(int argc, char** argv) { return kata::virtcontainers::Run(argc, argv); }
