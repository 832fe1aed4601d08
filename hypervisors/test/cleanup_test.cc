// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/cleanup.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "hypervisors/hypervisor.h"

namespace kata::hypervisors {
namespace {

namespace fs = std::filesystem;

constexpr int kExecTries = 3000;

class CleanupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/kata-cleanup-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    directory_ = pattern;
    fs::create_directories(directory_ + "/libvirt/run/qemu");
  }
  void TearDown() override {
    // Only when it is a child still: a test that failed must not wait for it.
    if (child_ > 0 && waitpid(child_, nullptr, WNOHANG) == 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    fs::remove_all(directory_);
  }
  // A process whose command line looks as `words` say.
  pid_t Run(const std::string& first, const std::string& second) {
    const pid_t pid = fork();
    if (pid == 0) {
      execl("/bin/sh", "sh", "-c", "kill -STOP $$", first.c_str(), second.c_str(), nullptr);
      _exit(1);
    }
    std::ofstream(directory_ + "/libvirt/run/qemu/pod.pid") << pid;
    // Until exec has happened the command line is this program's.
    for (int i = 0; i < kExecTries; ++i) {
      std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline");
      const std::string words((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
      if (words.find(second) != std::string::npos) break;
      usleep(10000);
    }
    child_ = pid;
    return pid;
  }
  std::string directory_;
  pid_t child_ = 0;
};

TEST_F(CleanupTest, KillsOurMachineAndRemovesItsFiles) {
  const MachinePaths paths(directory_);
  const pid_t pid = Run("guest=pod,debug-threads=on", paths.libvirt_root + "/lib/qemu/x");
  EXPECT_EQ(PidFromFile(paths, "pod"), pid);
  EXPECT_TRUE(IsMachineProcess(pid, paths, "pod"));
  EXPECT_FALSE(IsMachineProcess(pid, paths, "po"));
  const absl::Status status = CleanUpMachine("pod", directory_, std::chrono::seconds(10));
  ASSERT_TRUE(status.ok()) << status;
  int result = 0;
  ASSERT_EQ(waitpid(pid, &result, 0), pid);
  EXPECT_TRUE(WIFSIGNALED(result));
  EXPECT_FALSE(fs::exists(directory_ + "/libvirt"));
  EXPECT_TRUE(CleanUpMachine("pod", directory_, std::chrono::seconds(10)).ok());
}

TEST_F(CleanupTest, KillsAnEmulatorThatHasNoPidFile) {
  const MachinePaths paths(directory_);
  const pid_t pid = Run("-daemonize", "unix:" + paths.libvirt_root + "/lib/qemu/qmp-abcdef/qmp.monitor,server=on");
  fs::remove(directory_ + "/libvirt/run/qemu/pod.pid");

  EXPECT_TRUE(CleanUpMachine("pod", directory_, std::chrono::seconds(10)).ok());

  int result = 0;
  ASSERT_EQ(waitpid(pid, &result, 0), pid);
  EXPECT_TRUE(WIFSIGNALED(result));
}

TEST_F(CleanupTest, SparesAForeignProcessWithTheSamePid) {
  const pid_t pid = Run("guest=pod,debug-threads=on", "/run/other/libvirt/lib/qemu/x");
  EXPECT_TRUE(CleanUpMachine("pod", directory_, std::chrono::seconds(10)).ok());
  EXPECT_EQ(kill(pid, 0), 0);
  kill(pid, SIGKILL);
  int result = 0;
  EXPECT_EQ(waitpid(pid, &result, 0), pid);
}

TEST_F(CleanupTest, RemovesOnlyTheCgroupsOfThisDomain) {
  for (const char* path :
       {"/cpu/machine/qemu-1-pod.libvirt-qemu/libvirt/emulator", "/cpu/machine/qemu-1-pod2.libvirt-qemu",
        "/cpu/machine/qemu-x-pod.libvirt-qemu", "/cpu/machine/qemu-embed-0a1b2c3d-1-pod.libvirt-qemu",
        "/machine/qemu-12-pod.libvirt-qemu"}) {
    fs::create_directories(directory_ + path);
  }
  EXPECT_TRUE(RemoveCgroups(directory_, "pod").ok());
  EXPECT_FALSE(fs::exists(directory_ + "/cpu/machine/qemu-1-pod.libvirt-qemu"));
  EXPECT_FALSE(fs::exists(directory_ + "/cpu/machine/qemu-embed-0a1b2c3d-1-pod.libvirt-qemu"));
  EXPECT_FALSE(fs::exists(directory_ + "/machine/qemu-12-pod.libvirt-qemu"));
  EXPECT_TRUE(fs::exists(directory_ + "/cpu/machine/qemu-1-pod2.libvirt-qemu"));
  EXPECT_TRUE(fs::exists(directory_ + "/cpu/machine/qemu-x-pod.libvirt-qemu"));
}

}  // namespace
}  // namespace kata::hypervisors
