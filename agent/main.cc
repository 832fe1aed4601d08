// SPDX-License-Identifier: Apache-2.0
// PID 1 of the guest. One thread: system set-up first, then the event loop. It never exits; an
// error reboots the machine, which the host sees as the end of the VM.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>

#include <absl/strings/numbers.h>
#include <boost/asio/io_context.hpp>

#include "agent/base/paths.h"
#include "agent/guest.h"
#include "agent/host_words.h"
#include "agent/listener.h"
#include "agent/process/exit_table.h"
#include "agent/service.h"
#include "proto/base/fd.h"
#include "proto/base/log.h"

namespace kata::agent {
namespace {

constexpr size_t kCommandLineSizeMax = 65536;

// Descriptors 0-2 must exist, or later ones would take their numbers and be overwritten in a child.
void OpenStandardStreams() {
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  } while (fd >= 0 && fd < 3);
  if (fd >= 3) ::close(fd);
}

void OpenLog() {
  int fd = ::open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
  if (fd < 0) fd = ::open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (fd >= 0) log::SetSink(fd);
}

Co<absl::Status> RunOrReboot(std::string name, Co<absl::Status> task) {
  absl::Status status = co_await std::move(task);
  log::Error("{} ended: {}", name, std::string(status.message()));
  RebootAfterError();
}

void Run() {
  absl::Status prepared = PrepareGuest();
  OpenStandardStreams();
  OpenLog();
  if (!prepared.ok()) {
    log::Error("preparing the guest: {}", std::string(prepared.message()));
    RebootAfterError();
  }
  auto text = ReadFile("/proc/cmdline", kCommandLineSizeMax);
  std::map<std::string, std::string> words = ParseCommandLine(text.ok() ? *text : "");
  if (words.count("agent.debug") != 0 && words["agent.debug"] != "0") log::SetLevel(log::Level::kDebug);
  log::Debug("booted with: {}", text.value_or(""));
  ::signal(SIGPIPE, SIG_IGN);

  asio::io_context context(1);
  ExitTable exits;
  const auto token = [] {
    absl::StatusOr<std::string> word = ReadHostWord("token_sha256");
    if (!word.ok()) log::Error("no host can connect: {}", std::string(word.status().message()));
    return word.value_or("");
  };
  Service service(context.get_executor(), &exits, token);
  if (absl::Status listening = service.Start(); !listening.ok())
    log::Warn("devices will be found late: {}", listening.message());
  Spawn(context.get_executor(), "reaper", RunOrReboot("reaper", exits.Run()));
  uint32_t port = 0;
  uint32_t ready_port = 0;
  if (!absl::SimpleAtoi(words["agent.vsock_ready_port"], &ready_port)) ready_port = 0;
  if (absl::SimpleAtoi(words["agent.vsock_port"], &port)) {
    Spawn(context.get_executor(), "vsock", RunOrReboot("vsock", ServeVsock(&service, port, ready_port)));
  } else {
    Spawn(context.get_executor(), "port", RunOrReboot("port", ServeVirtioPort(&service)));
  }
  context.run();
}

}  // namespace
}  // namespace kata::agent

int main() {
  if (::getpid() != 1) {
    std::fputs("agent: runs as PID 1 of a guest only\n", stderr);
    return 1;
  }
  try {
    kata::agent::Run();
  } catch (const std::exception& e) {
    kata::log::Error("unexpected exception: {}", e.what());
  }
  kata::agent::RebootAfterError();
}
