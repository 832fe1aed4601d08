// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/config.h"

#include <gtest/gtest.h>

#include "proto/base/fd.h"
#include "virtcontainers/test/test_directory.h"

namespace kata::virtcontainers {
namespace {

class ConfigTest : public testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = directory_.path() + "/" + name;
    EXPECT_TRUE(MakeDirs(path.substr(0, path.rfind('/')), 0755).ok());
    EXPECT_TRUE(WriteFileAtomically(path, text, 0644).ok());
    return path;
  }
  std::string ErrorOf(const std::string& text) {
    Write("c.toml", text);
    auto config = LoadConfig("/opt/kata", file_);
    EXPECT_TRUE(absl::IsInvalidArgument(config.status())) << config.status();
    return std::string(config.status().message());
  }
  TestDirectory directory_;
  // Known beforehand: compilers differ in which side of a comparison they evaluate first.
  const std::string file_ = directory_.path() + "/c.toml";
};

TEST_F(ConfigTest, InstalledFileIsValidAndComplete) {
  auto config = LoadConfig("/opt/kata", KATA_CONFIGURATION_TOML);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->kernel, "/opt/kata/share/kata-containers/vmlinux");
  EXPECT_EQ(config->initrd, "/opt/kata/share/kata-containers/kata-initrd.img");
  EXPECT_EQ(config->machine_type, "q35");
  EXPECT_EQ(config->accelerator, hypervisors::Accelerator::kAuto);
  EXPECT_EQ(config->shared_fs, SharedFs::kVirtioFs);
  EXPECT_EQ(config->agent_transport, AgentTransport::kAuto);
  EXPECT_EQ(config->default_memory, 512u);
  EXPECT_EQ(config->dial_timeout, 13u);
}

TEST_F(ConfigTest, DropInsWinInTheOrderOfTheirNames) {
  const std::string file =
      Write("c.toml", "[hypervisor.qemu]\ndefault_vcpus = 1\ndefault_memory = 256\n");
  Write("config.d/20-b.toml", "[hypervisor.qemu]\ndefault_vcpus = 3\n");
  Write("config.d/10-a.toml", "[hypervisor.qemu]\ndefault_vcpus = 2\naccelerator = \"tcg\"\n");
  Write("config.d/30-c.txt", "not read");
  auto config = LoadConfig("/opt/kata", file);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->default_vcpus, 3u);
  EXPECT_EQ(config->default_memory, 256u);
  EXPECT_EQ(config->accelerator, hypervisors::Accelerator::kTcg);
}

TEST_F(ConfigTest, BodyWinsOverTheFilesKeyByKey) {
  const std::string file =
      Write("c.toml", "[hypervisor.qemu]\ndefault_vcpus = 1\ndefault_memory = 256\n");
  Write("config.d/10-a.toml", "[hypervisor.qemu]\ndefault_vcpus = 2\n");
  auto config = LoadConfig("/opt/kata", file, "[hypervisor.qemu]\ndefault_vcpus = 3\n");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->default_vcpus, 3u);
  EXPECT_EQ(config->default_memory, 256u);
  auto bad = LoadConfig("/opt/kata", file, "[hypervisor.qemu]\nkernal = \"/k\"\n");
  EXPECT_EQ(bad.status().message(),
            "configuration \"ConfigBody\" line 2: unknown key \"kernal\" in [hypervisor.qemu]; did "
            "you mean \"kernel\"?");
}

TEST_F(ConfigTest, UnknownKeyNamesFileLineAndNearestKey) {
  EXPECT_EQ(ErrorOf("[hypervisor.qemu]\npath = \"/q\"\nkernal = \"/k\"\n"),
            "configuration \"" + file_ +
                "\" line 3: unknown key \"kernal\" in [hypervisor.qemu]; did you mean \"kernel\"?");
}

TEST_F(ConfigTest, UnknownTableNamesNearestTable) {
  EXPECT_EQ(ErrorOf("\n[hypervisor.qmu]\npath = \"/q\"\n"),
            "configuration \"" + file_ +
                "\" line 2: unknown table [hypervisor.qmu]; did you mean [hypervisor.qemu]?");
}

TEST_F(ConfigTest, BadValuesAreNamed) {
  EXPECT_EQ(ErrorOf("[hypervisor.qemu]\ndefault_memory = 1\n"),
            "configuration \"" + file_ +
                "\" line 2: key \"default_memory\": a whole number from 64 to 1048576 is needed");
  EXPECT_EQ(ErrorOf("[hypervisor.qemu]\ndefault_vcpus = \"2\"\n"),
            "configuration \"" + file_ +
                "\" line 2: key \"default_vcpus\": a whole number from 1 to 64 is needed");
  EXPECT_EQ(ErrorOf("[hypervisor.qemu]\naccelerator = \"hvf\"\n"),
            "configuration \"" + file_ +
                "\" line 2: key \"accelerator\": one of \"auto\", \"kvm\", \"tcg\" is needed");
  EXPECT_EQ(
      ErrorOf("[runtime]\nenable_debug = 1\n"),
      "configuration \"" + file_ + "\" line 2: key \"enable_debug\": true or false is needed");
}

TEST_F(ConfigTest, SyntaxErrorNamesLine) {
  EXPECT_EQ(
      ErrorOf("[runtime]\nenable_debug = \n").find("configuration \"" + file_ + "\" line 2: "), 0u);
}

TEST_F(ConfigTest, MissingFileIsNamed) {
  const std::string path = directory_.path() + "/none.toml";
  auto config = LoadConfig("/opt/kata", path);
  EXPECT_TRUE(absl::IsNotFound(config.status()));
  EXPECT_EQ(config.status().message(),
            "reading configuration \"" + path + "\": no such file or directory");
}

}  // namespace
}  // namespace kata::virtcontainers
