// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/base/fd.h"
#include "virtcontainers/config/document.h"
#include "virtcontainers/config/keys.h"
#include "virtcontainers/config/virtiofsd_arguments.h"
#include "virtcontainers/test/test_directory.h"

namespace kata::virtcontainers {
namespace {

using ::testing::HasSubstr;

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
  const std::string file = Write("c.toml", "[hypervisor.qemu]\ndefault_vcpus = 1\ndefault_memory = 256\n");
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
  const std::string file = Write("c.toml", "[hypervisor.qemu]\ndefault_vcpus = 1\ndefault_memory = 256\n");
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
  EXPECT_EQ(
      ErrorOf("[hypervisor.qemu]\npath = \"/q\"\nkernal = \"/k\"\n"),
      "configuration \"" + file_ + "\" line 3: unknown key \"kernal\" in [hypervisor.qemu]; did you mean \"kernel\"?");
}

TEST_F(ConfigTest, AllThatIsWrongIsToldAtOnce) {
  Write("config.d/a.toml", "[runtime]\nenable_debgu = true\n");
  EXPECT_EQ(ErrorOf("[hypervisor.qemu]\nkernal = \"/k\"\ndefault_vcpus = \"2\"\n"),
            "configuration \"" + file_ + "\" line 2: unknown key \"kernal\" in [hypervisor.qemu]; did you mean " +
                "\"kernel\"?; configuration \"" + file_ +
                "\" line 3: key \"default_vcpus\": a whole number from 1 to 64 is needed; configuration \"" +
                directory_.path() +
                "/config.d/a.toml\" line 2: unknown key \"enable_debgu\" in [runtime]; did you mean \"enable_debug\"?");
}

TEST_F(ConfigTest, AnErrorNamesSoManyAndCountsTheRest) {
  std::string text = "[runtime]\n";
  for (int i = 0; i < 20; ++i) text += "no_key_" + std::to_string(i) + " = 1\n";
  Write("c.toml", text);
  ConfigOrigins origins;
  const auto config = LoadConfig("/opt/kata", file_, "", &origins);
  EXPECT_THAT(std::string(config.status().message()),
              HasSubstr("; and 12 more, which \"kata-ctl config check\" names"));
  EXPECT_EQ(origins.errors.size(), 20u);
}

TEST_F(ConfigTest, UnknownTableNamesNearestTable) {
  EXPECT_EQ(ErrorOf("\n[hypervisor.qmu]\npath = \"/q\"\n"),
            "configuration \"" + file_ + "\" line 2: unknown table [hypervisor.qmu]; did you mean [hypervisor.qemu]?");
}

TEST_F(ConfigTest, BadValuesAreNamed) {
  EXPECT_EQ(
      ErrorOf("[hypervisor.qemu]\ndefault_memory = 1\n"),
      "configuration \"" + file_ + "\" line 2: key \"default_memory\": a whole number from 64 to 1048576 is needed");
  EXPECT_EQ(ErrorOf("[hypervisor.qemu]\ndefault_vcpus = \"2\"\n"),
            "configuration \"" + file_ + "\" line 2: key \"default_vcpus\": a whole number from 1 to 64 is needed");
  EXPECT_EQ(ErrorOf("[hypervisor.qemu]\naccelerator = \"hvf\"\n"),
            "configuration \"" + file_ + "\" line 2: key \"accelerator\": one of \"auto\", \"kvm\", \"tcg\" is needed");
  EXPECT_EQ(ErrorOf("[runtime]\nenable_debug = 1\n"),
            "configuration \"" + file_ + "\" line 2: key \"enable_debug\": true or false is needed");
}

TEST_F(ConfigTest, WhatPeopleReadComesFromTheTable) {
  auto file = ReadFile(KATA_CONFIGURATION_TOML, 1u << 20);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(*file, DefaultConfigFile()) << "write it anew: config_document file > configs/configuration.toml";
  auto document = ReadFile(KATA_CONFIGURATION_MD, 1u << 20);
  ASSERT_TRUE(document.ok()) << document.status();
  EXPECT_EQ(*document, ConfigDocument()) << "write it anew: config_document document > docs/configuration.md";
}

TEST_F(ConfigTest, AnEmptyFileMeansTheDefaults) {
  auto config = LoadConfig("/opt/kata", Write("c.toml", ""));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->kernel, "/opt/kata/share/kata-containers/vmlinux");
  EXPECT_EQ(config->default_memory, 512u);
}

TEST_F(ConfigTest, ListsAreReadAndChecked) {
  auto config = LoadConfig("/opt/kata", Write("c.toml", "[runtime]\nshared_sockets = [\"/a\", \"/b\"]\n"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->shared_sockets, (std::vector<std::string>{"/a", "/b"}));
  EXPECT_EQ(ErrorOf("[hypervisor.qemu]\nenable_annotations = \"a\"\n"),
            "configuration \"" + file_ + "\" line 2: key \"enable_annotations\": a list of strings is needed");
}

TEST_F(ConfigTest, PatternsOfSocketsAreChecked) {
  auto config = LoadConfig("/opt/kata", Write("c.toml", "[runtime]\nshared_sockets = [\"/run/a\", \"/run/*.sock\"]\n"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->shared_sockets, (std::vector<std::string>{"/run/a", "/run/*.sock"}));
  EXPECT_EQ(
      ErrorOf("[runtime]\nshared_sockets = [\"/run/a\", \"run/b\"]\n"),
      "configuration \"" + file_ + "\" line 2: key \"shared_sockets\": pattern \"run/b\": an absolute path is needed");
}

TEST_F(ConfigTest, KeysOfDisksGoTogether) {
  const std::string table = "[hypervisor.qemu]\n";
  const auto config =
      LoadConfig("/opt/kata",
                 Write("c.toml", table + "block_device_aio = \"native\"\nblock_device_cache_set = true\n"
                                         "block_device_cache_direct = true\nblock_device_driver = \"virtio-scsi\"\n"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->is_disk_on_scsi);

  EXPECT_THAT(ErrorOf(table + "block_device_aio = \"native\"\n"), HasSubstr("needs block_device_cache_set = true"));
  EXPECT_THAT(ErrorOf(table + "block_device_cache_set = true\nblock_device_cache_direct = true\n"
                              "block_device_cache_noflush = true\n"),
              HasSubstr("only one can be true"));
  EXPECT_THAT(ErrorOf(table + "virtio_fs_queue_size = 100\n"), HasSubstr("a power of two"));
  EXPECT_THAT(
      ErrorOf(table + "block_device_driver = \"virtio-pmem\"\n"),
      HasSubstr("key \"block_device_driver\": one of \"virtio-blk\", \"virtio-scsi\", \"virtio-blk-pci\" is needed"));
  EXPECT_THAT(ErrorOf(table + "virtio_fs_extra_args = [\"-o\", \"source=/\"]\n"),
              HasSubstr("line 2: key \"virtio_fs_extra_args\": \"source=/\": the runtime sets \"source\" itself"));
}

TEST(VirtiofsdArguments, WhatTheRuntimeSetsIsRefusedByName) {
  for (const char* argument :
       {"--thread-pool-size=4", "-o", "writeback", "-o no_flock", "--killpriv-v2", "-oallow_root"})
    EXPECT_TRUE(CheckVirtiofsdArgument(argument).ok()) << argument;
  for (const char* argument : {"-o source=/",
                               "source=/",
                               "-osource=/",
                               "-o writeback,source=/",
                               "--shared-dir",
                               "--shared-dir=/",
                               "--fd=3",
                               "--socket-path=/x",
                               "--sandbox=none",
                               "-o sandbox=chroot",
                               "-o modcaps=+sys_admin",
                               "--modcaps=+sys_admin",
                               "--no-announce-submounts",
                               "-o no_xattr",
                               "--xattr",
                               "-o log_level=debug",
                               "--log-level=off",
                               "-f",
                               "-d",
                               "-V"})
    EXPECT_TRUE(absl::IsInvalidArgument(CheckVirtiofsdArgument(argument))) << argument;
  EXPECT_EQ(CheckVirtiofsdArgument("-o cache=always").message(),
            "\"-o cache=always\": the runtime sets \"cache\" itself, by virtio_fs_cache");
}

TEST_F(ConfigTest, EachValueKnowsWhereItComesFrom) {
  Write("c.toml",
        "[hypervisor.qemu]\ndefault_vcpus = 2\ndefault_memory = 700\nenable_annotations = [\n"
        "\"io.katacontainers.config.hypervisor.default_vcpus\"]\n");
  const std::string drop_in = Write("config.d/a.toml", "[hypervisor.qemu]\n\ndefault_memory = 800\n");
  ConfigOrigins origins;
  auto config = LoadConfig("/opt/kata", file_, "[runtime]\nenable_debug = true\n", &origins);
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_TRUE(ApplyAnnotations(*config, {{"io.katacontainers.config.hypervisor.default_vcpus", "3"}}, &origins).ok());
  EXPECT_EQ(origins.files, (std::vector<std::string>{file_, drop_in, "ConfigBody"}));
  EXPECT_EQ(origins.keys["hypervisor.qemu.default_memory"], drop_in + " line 3");
  EXPECT_EQ(origins.keys["hypervisor.qemu.enable_annotations"], file_ + " line 4");
  EXPECT_EQ(origins.keys["hypervisor.qemu.default_vcpus"],
            "annotation io.katacontainers.config.hypervisor.default_vcpus");
  EXPECT_EQ(origins.keys["runtime.enable_debug"], "ConfigBody line 2");
  EXPECT_FALSE(origins.keys.contains("hypervisor.qemu.kernel"));
}

TEST_F(ConfigTest, AKeyIsFoundByEitherOfItsNames) {
  ASSERT_NE(FindKey("kernel"), nullptr);
  EXPECT_EQ(FindKey("kernel"), FindKey("hypervisor.qemu.kernel"));
  EXPECT_EQ(FullName(*FindKey("dial_timeout")), "agent.kata.dial_timeout");
  EXPECT_EQ(FindKey("kernle"), nullptr);
  EXPECT_EQ(FindKey("runtime.kernel"), nullptr);
}

TEST_F(ConfigTest, SyntaxErrorNamesLine) {
  EXPECT_EQ(ErrorOf("[runtime]\nenable_debug = \n").find("configuration \"" + file_ + "\" line 2: "), 0u);
}

TEST_F(ConfigTest, MissingFileIsNamed) {
  const std::string path = directory_.path() + "/none.toml";
  auto config = LoadConfig("/opt/kata", path);
  EXPECT_TRUE(absl::IsNotFound(config.status()));
  EXPECT_EQ(config.status().message(), "reading configuration \"" + path + "\": no such file or directory");
}

}  // namespace
}  // namespace kata::virtcontainers
