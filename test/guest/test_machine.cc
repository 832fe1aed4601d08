// SPDX-License-Identifier: Apache-2.0
#include "test/guest/test_machine.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "hypervisors/accelerator/kernel_params.h"
#include "virtcontainers/config/config.h"

namespace kata::test {
namespace {

// QEMU's user: unprivileged and of this process alone.
constexpr uid_t kUserBase = 0x60000000;

}  // namespace

absl::StatusOr<hypervisors::VmSpec> MachineSpec(const std::string& prefix, const std::string& directory,
                                                const virtcontainers::BootToken& token) {
  ASSIGN_OR_RETURN(const virtcontainers::Config config, virtcontainers::LoadConfig(prefix, ""));
  hypervisors::VmSpec spec;
  spec.name = absl::StrCat("test-machine-", ::getpid());
  spec.runtime_dir = directory;
  spec.emulator = config.path;
  spec.machine_type = config.machine_type;
  spec.firmware = config.firmware;
  spec.kernel = config.kernel;
  spec.initrd = config.initrd;
  spec.kernel_params = hypervisors::kKernelParams;
  spec.guest_words[virtcontainers::kTokenWord] = token.sha256_hex;
  spec.memory_mib = config.default_memory;
  spec.root_ports = config.pcie_root_port;
  spec.uid = kUserBase + static_cast<uid_t>(::getpid());
  spec.gid = spec.uid;
  spec.cache_dir = absl::StrCat(directory, "-cache");
  return spec;
}

int RunWithDirectory(const char* name, std::function<Co<absl::Status>(std::string directory)> run) {
  std::string directory = absl::StrCat("/run/", name, "-XXXXXX");
  if (::mkdtemp(directory.data()) == nullptr || ::chmod(directory.c_str(), 0711) != 0) {
    std::perror("making a directory below /run");
    return 1;
  }
  int code = 1;
  asio::io_context context(1);
  asio::co_spawn(context, run(directory), [&code, &context](std::exception_ptr error, absl::Status status) {
    if (!error && status.ok()) code = 0;
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
    context.stop();
  });
  context.run();
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  std::filesystem::remove_all(directory + "-cache", ignored);
  return code;
}

}  // namespace kata::test
