// SPDX-License-Identifier: Apache-2.0
// Boots the guest named by KATA_TEST_KERNEL and KATA_TEST_INITRD in a network namespace of its own. Needs root.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <thread>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "hypervisors/accelerator/kernel_params.h"
#include "hypervisors/accelerator/probe_boot.h"
#include "hypervisors/hypervisor.h"
#include "hypervisors/libvirt/cleanup.h"
#include "proto/base/fd.h"

namespace kata::hypervisors {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using ::testing::HasSubstr;

constexpr uid_t kUser = 47321;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

UniqueFd NewNetworkNamespace() {
  UniqueFd fd;
  std::thread thread([&fd] {
    if (unshare(CLONE_NEWNET) == 0) fd.reset(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  });
  thread.join();
  return fd;
}

uid_t OwnerOf(pid_t pid) {
  struct stat info = {};
  return stat(("/proc/" + std::to_string(pid)).c_str(), &info) == 0 ? info.st_uid : 0;
}

int CountCgroupsBelow(const fs::path& hierarchy, const std::string& domain) {
  int count = 0;
  for (const char* partition : {"machine", "machine.slice"}) {
    std::error_code ec;
    for (fs::directory_iterator group(hierarchy / partition, ec), last; !ec && group != last; group.increment(ec)) {
      const std::string name = group->path().filename().string();
      if (name.find("-" + domain + ".") != std::string::npos || name.find("x2d" + domain + ".") != std::string::npos)
        ++count;
    }
  }
  return count;
}

// Cgroups with the domain's name: in the one hierarchy of cgroup v2, and in each of v1.
int CountCgroups(const std::string& domain) {
  int count = CountCgroupsBelow("/sys/fs/cgroup", domain);
  std::error_code ec;
  for (fs::directory_iterator it("/sys/fs/cgroup", ec), end; !ec && it != end; it.increment(ec)) {
    if (it->path().filename() != "machine" && it->path().filename() != "machine.slice")
      count += CountCgroupsBelow(it->path(), domain);
  }
  return count;
}

class BootTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(getuid(), 0u) << "needs root";
    ASSERT_NE(Environment("KATA_TEST_KERNEL"), "") << "set KATA_TEST_KERNEL and KATA_TEST_INITRD";
    char pattern[] = "/run/kata-boot-test-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    base_ = pattern;
    ASSERT_EQ(chmod(pattern, 0711), 0);
    netns_ = NewNetworkNamespace();
    ASSERT_TRUE(netns_.valid());
  }
  void TearDown() override { fs::remove_all(base_); }

  VmSpec Spec(const std::string& name) {
    VmSpec spec;
    spec.name = name;
    spec.runtime_dir = base_ + "/" + name;
    fs::create_directory(spec.runtime_dir);
    chmod(spec.runtime_dir.c_str(), 0711);
    spec.emulator = "/usr/bin/qemu-system-x86_64";
    spec.machine_type = "q35";
    spec.firmware = "/usr/share/qemu/qboot.rom";
    spec.kernel = Environment("KATA_TEST_KERNEL");
    spec.initrd = Environment("KATA_TEST_INITRD");
    // What a sandbox boots with, but not quiet: the tests look for the kernel's first line.
    spec.kernel_params = absl::StrCat(kKernelParams, " loglevel=7");
    spec.memory_mib = 256;
    spec.uid = kUser;
    spec.gid = kUser;
    spec.cache_dir = base_ + "/cache";
    return spec;
  }

  // Runs one coroutine to its end on a fresh io thread.
  template <typename T>
  T Run(Co<T> task) {
    std::optional<T> result;
    std::exception_ptr error;
    bool is_done = false;
    asio::co_spawn(io_, std::move(task), [&](std::exception_ptr e, T value) {
      error = e;
      result = std::move(value);
      is_done = true;
    });
    io_.restart();
    while (!is_done) io_.run_one();
    if (error) std::rethrow_exception(error);
    return std::move(*result);
  }

  bool WaitForConsole(Hypervisor& machine, const std::string& text) {
    for (int i = 0; i < 600; ++i) {
      if (machine.ConsoleTail(1u << 16).find(text) != std::string::npos) return true;
      io_.restart();
      io_.run_for(std::chrono::milliseconds(100));
    }
    return false;
  }

  void ExpectNothingLeft(const VmSpec& spec, pid_t pid) {
    EXPECT_NE(kill(pid, 0), 0);
    EXPECT_EQ(CountCgroups(DomainName(spec.name)), 0);
    EXPECT_TRUE(fs::is_empty(spec.runtime_dir));
    EXPECT_FALSE(fs::is_symlink(MachinePaths(spec.runtime_dir).short_dir));
  }

  asio::io_context io_;
  std::string base_;
  UniqueFd netns_;
};

int64_t Milliseconds(Clock::time_point since) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - since).count();
}

TEST_F(BootTest, BootsPausesAndStops) {
  // A name as long as containerd's.
  const VmSpec spec = Spec("boot" + std::string(60, 'a'));
  std::unique_ptr<Hypervisor> machine = MakeLibvirtHypervisor(io_.get_executor());
  const auto begin = Clock::now();
  const absl::Status started = Run(machine->Start(spec, netns_.get()));
  ASSERT_TRUE(started.ok()) << started;
  std::cout << "start " << Milliseconds(begin) << " ms\n";
  const pid_t pid = machine->Pid();
  ASSERT_GT(pid, 0);
  EXPECT_EQ(OwnerOf(pid), kUser);
  EXPECT_NE(fs::read_symlink("/proc/" + std::to_string(pid) + "/ns/net"), fs::read_symlink("/proc/self/ns/net"));
  EXPECT_GT(CountCgroups(DomainName(spec.name)), 0);
  EXPECT_FALSE(fs::is_empty(spec.cache_dir));
  EXPECT_TRUE(WaitForConsole(*machine, "Linux version")) << machine->ConsoleTail(2000);
  std::cout << "console " << Milliseconds(begin) << " ms\n";
  auto agent = Run(machine->ConnectAgent(std::chrono::seconds(1)));
  EXPECT_TRUE(agent.ok()) << agent.status();

  absl::Status status = Run(machine->Pause());
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(Run(machine->Pause()).code(), absl::StatusCode::kFailedPrecondition);
  status = Run(machine->Resume());
  EXPECT_TRUE(status.ok()) << status;

  const auto stop = Clock::now();
  status = Run(machine->Stop());
  EXPECT_TRUE(status.ok()) << status;
  std::cout << "stop " << Milliseconds(stop) << " ms\n";
  EXPECT_EQ(Run(machine->WaitStopped()), StopReason::kDestroyed);
  EXPECT_TRUE(Run(machine->Stop()).ok());
  EXPECT_EQ(machine->Pid(), 0);
  EXPECT_FALSE(Run(machine->ConnectAgent(std::chrono::seconds(1))).ok());
  ExpectNothingLeft(spec, pid);
}

TEST_F(BootTest, KilledProcessIsNoticed) {
  const VmSpec spec = Spec("kill");
  std::unique_ptr<Hypervisor> machine = MakeLibvirtHypervisor(io_.get_executor());
  const absl::Status started = Run(machine->Start(spec, netns_.get()));
  ASSERT_TRUE(started.ok()) << started;
  const pid_t pid = machine->Pid();
  ASSERT_EQ(kill(pid, SIGKILL), 0);
  const auto begin = Clock::now();
  EXPECT_EQ(Run(machine->WaitStopped()), StopReason::kFailed);
  std::cout << "noticed after " << Milliseconds(begin) << " ms\n";
  const absl::Status stopped = Run(machine->Stop());
  EXPECT_TRUE(stopped.ok()) << stopped;
  ExpectNothingLeft(spec, pid);
}

TEST_F(BootTest, CleanUpNeedsNoLibvirt) {
  const VmSpec spec = Spec("orphan");
  std::unique_ptr<Hypervisor> machine = MakeLibvirtHypervisor(io_.get_executor());
  const absl::Status started = Run(machine->Start(spec, netns_.get()));
  ASSERT_TRUE(started.ok()) << started;
  const pid_t pid = machine->Pid();
  const absl::Status cleaned = CleanUpMachine(spec.name, spec.runtime_dir, std::chrono::seconds(5));
  EXPECT_TRUE(cleaned.ok()) << cleaned;
  const absl::Status stopped = Run(machine->Stop());
  EXPECT_TRUE(stopped.ok()) << stopped;
  ExpectNothingLeft(spec, pid);
}

TEST_F(BootTest, ProbeBootReachesTheFirstProgram) {
  const VmSpec spec = Spec("probe");
  const absl::Status status = ProbeBoot(spec, "tcg", std::chrono::seconds(120));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(std::string(ProbeBoot(spec, "nonesuch", std::chrono::seconds(120)).message()), HasSubstr("nonesuch"));
}

TEST_F(BootTest, MissingKernelIsNamed) {
  VmSpec spec = Spec("nokernel");
  spec.kernel = base_ + "/none";
  std::unique_ptr<Hypervisor> machine = MakeLibvirtHypervisor(io_.get_executor());
  const absl::Status status = Run(machine->Start(spec, netns_.get()));
  EXPECT_THAT(std::string(status.message()), HasSubstr("of configuration key \"kernel\": no such file"));
  EXPECT_EQ(Run(machine->WaitStopped()), StopReason::kFailed);
  EXPECT_TRUE(Run(machine->Stop()).ok());
  EXPECT_TRUE(fs::is_empty(spec.runtime_dir));
}

}  // namespace
}  // namespace kata::hypervisors
