// SPDX-License-Identifier: Apache-2.0
// Configuration files of Kata's, given as they are.
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/base/fd.h"
#include "virtcontainers/config/config.h"
#include "virtcontainers/config/kata_keys.h"
#include "virtcontainers/config/keys.h"
#include "virtcontainers/test/test_directory.h"

namespace kata::virtcontainers {
namespace {

using ::testing::HasSubstr;

struct Answer {
  std::vector<std::string> errors;  // without the file
  std::vector<std::string> notes;
  absl::StatusOr<Config> config;
};

class KataFiles : public testing::Test {
 protected:
  Answer Ask(const std::string& text) {
    const std::string file = directory_.path() + "/c.toml";
    EXPECT_TRUE(WriteFileAtomically(file, text, 0644).ok());
    ConfigOrigins origins;
    Answer answer{{}, {}, LoadConfig("/opt/kata", file, "", &origins)};
    const std::string head = "configuration \"" + file + "\" ";
    for (const std::string& error : origins.errors) answer.errors.push_back(error.substr(head.size()));
    for (const std::string& note : origins.notes) answer.notes.push_back(note.substr(head.size()));
    return answer;
  }
  static std::string TextOf(const std::string& name) {
    auto text = ReadFile(std::string(KATA_KATA_FILES) + "/" + name, 1u << 20);
    EXPECT_TRUE(text.ok()) << text.status();
    return text.value_or("");
  }
  // Without the lines that begin with one of the words.
  static std::string Without(const std::string& text, const std::set<std::string>& words) {
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const size_t end = text.find('\n', at);
      const std::string line = text.substr(at, end - at + 1);
      if (!words.contains(line.substr(0, line.find(' ')))) out += line;
      at = end + 1;
    }
    return out;
  }
  TestDirectory directory_;
};

TEST_F(KataFiles, OfVersion3NamesTheFewLinesThatDoNotApply) {
  const std::string text = TextOf("configuration-qemu-3.toml");
  const Answer answer = Ask(text);
  EXPECT_EQ(
      answer.errors,
      (std::vector<std::string>{
          "line 6: \"image\" does not apply here: the guest boots from an initramfs, which has the agent: take it "
          "out, and name another one by initrd",
          "line 9: key \"enable_annotations\": \"enable_iommu\" cannot be enabled: a machine has no IOMMU; "
          "\"virtio_fs_extra_args\" cannot be enabled: the operator alone says it, by virtio_fs_extra_args in "
          "[hypervisor.qemu]; \"kernel_params\" cannot be enabled: the operator alone says it, by kernel_params "
          "in [hypervisor.qemu]",
          "line 27: key \"virtio_fs_extra_args\": \"--announce-submounts\": the runtime sets "
          "\"announce-submounts\" itself: take it out",
          "line 51: \"disable_guest_seccomp\" does not apply here: a container's seccomp profile counts in the "
          "guest: take it out, and the profile from the containers that must not have one"}));
  for (const std::string& note : answer.notes) EXPECT_THAT(note, HasSubstr("changes nothing here: ")) << note;

  const Answer mended =
      Ask(Without(text, {"image", "enable_annotations", "virtio_fs_extra_args", "disable_guest_seccomp"}));
  ASSERT_TRUE(mended.config.ok()) << mended.config.status();
  EXPECT_EQ(mended.config->kernel, "/opt/kata/share/kata-containers/vmlinux.container");
  EXPECT_EQ(mended.config->default_memory, 2048u);
  EXPECT_EQ(mended.config->dial_timeout, 45u);
  EXPECT_FALSE(mended.config->sandbox_cgroup_only);
  EXPECT_TRUE(mended.config->is_disk_on_scsi);
}

TEST_F(KataFiles, OfVersion4NamesTheFewLinesThatDoNotApply) {
  const std::string text = TextOf("configuration-qemu-4.toml");
  const Answer answer = Ask(text);
  ASSERT_EQ(answer.errors.size(), 4u) << testing::PrintToString(answer.errors);
  EXPECT_THAT(answer.errors[0], HasSubstr("line 7: \"image\" does not apply here"));
  EXPECT_THAT(answer.errors[1], HasSubstr("\"kernel_verity_params\" cannot be enabled: the guest boots from"));
  EXPECT_THAT(answer.errors[2], HasSubstr("key \"overhead_memory\": a whole number from 64 to 1048576 is needed"));
  EXPECT_THAT(answer.errors[3], HasSubstr("\"disable_guest_seccomp\" does not apply here"));

  const Answer mended = Ask(Without(text, {"image", "enable_annotations", "overhead_memory", "disable_guest_seccomp"}));
  ASSERT_TRUE(mended.config.ok()) << mended.config.status();
  EXPECT_EQ(mended.config->default_vcpus, 1u);
  EXPECT_FALSE(mended.config->enable_template);
  EXPECT_EQ(mended.config->template_path, "/run/vc/vm/template");
  EXPECT_EQ(mended.config->create_container_timeout, 30u);
  EXPECT_FALSE(mended.config->is_disk_on_scsi);
}

TEST_F(KataFiles, WhatIsAskedForAndNotDoneIsAnError) {
  for (const AbsentKey& key : AbsentKeys()) {
    SCOPED_TRACE(FullName(key));
    const Answer answer = Ask("[" + key.table + "]\n" + key.name + " = \"such a value\"\n");
    if (key.Accepts("such a value")) {
      ASSERT_EQ(answer.notes.size(), 1u);
      EXPECT_EQ(answer.notes[0], "line 2: \"" + key.name + "\" changes nothing here: " + key.text);
      continue;
    }
    ASSERT_EQ(answer.errors.size(), 1u);
    EXPECT_EQ(answer.errors[0], "line 2: \"" + key.name + "\" does not apply here: " + key.text);
    EXPECT_FALSE(key.accepted.empty()) << "there is no value of which Kata's files could say that it is off";
  }
}

TEST_F(KataFiles, NoKeyIsInBothTables) {
  std::set<std::string> names;
  for (const ConfigKey& key : ConfigKeys()) EXPECT_TRUE(names.insert(FullName(key)).second) << FullName(key);
  for (const AbsentKey& key : AbsentKeys()) EXPECT_TRUE(names.insert(FullName(key)).second) << FullName(key);
}

TEST_F(KataFiles, OtherHypervisorsAndProcessesAreNamed) {
  EXPECT_EQ(
      Ask("[hypervisor.clh]\npath = \"/c\"\n").errors,
      (std::vector<std::string>{"line 1: [hypervisor.clh] does not apply here: machines are QEMU's, through libvirt: "
                                "take it out, what it says belongs into [hypervisor.qemu]"}));
  EXPECT_EQ(Ask("[proxy.kata]\npath = \"/c\"\n").errors,
            (std::vector<std::string>{"line 1: [proxy] does not apply here: there is no such process: take it out"}));
  EXPECT_THAT(Ask("[netmon]\nenable_netmon = true\n").errors[0], HasSubstr("always followed"));
}

TEST_F(KataFiles, HalfAProcessorIsNoWholeNumber) {
  EXPECT_EQ(Ask("[hypervisor.qemu]\ndefault_vcpus = 1.5\n").errors,
            (std::vector<std::string>{"line 2: key \"default_vcpus\": a whole number from 1 to 64 is needed"}));
  EXPECT_EQ(Ask("[hypervisor.qemu]\ndefault_vcpus = 2.0\n").config->default_vcpus, 2u);
}

}  // namespace
}  // namespace kata::virtcontainers
