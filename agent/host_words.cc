// SPDX-License-Identifier: Apache-2.0
#include "agent/host_words.h"

#include <absl/strings/str_cat.h>

#include "proto/base/fd.h"

namespace kata::agent {
namespace {

constexpr char kWords[] = "/sys/firmware/qemu_fw_cfg/by_name/opt/org.katacontainers/";
constexpr size_t kWordSizeMax = 4096;

}  // namespace

absl::StatusOr<std::string> ReadHostWord(const std::string& name) {
  return ReadFile(absl::StrCat(kWords, name, "/raw"), kWordSizeMax);
}

}  // namespace kata::agent
