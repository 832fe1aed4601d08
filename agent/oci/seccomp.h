// SPDX-License-Identifier: Apache-2.0
// Translation of the spec's linux.seccomp to a program for the kernel, by libseccomp. Names of system
// calls and architectures that this build does not know are skipped, as other runtimes do. Compile
// may run anywhere, but takes long under emulation; Load acts on the calling process.
#pragma once

#include <absl/strings/string_view.h>
#include <linux/filter.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace kata::agent {

// System call names over all rules of one profile.
inline constexpr size_t kSeccompNamesMax = 8192;
// Instructions that the kernel takes.
inline constexpr size_t kSeccompInstructionsMax = BPF_MAXINSNS;

struct SeccompArg {
  unsigned index = 0;
  uint64_t value = 0;
  uint64_t value_two = 0;  // the value compared to, when op is SCMP_CMP_MASKED_EQ
  std::string op;
};

struct SeccompRule {
  std::vector<std::string> names;
  std::string action;
  std::optional<unsigned> errno_ret;
  std::vector<SeccompArg> args;
};

struct SeccompProfile {
  std::string default_action;
  std::optional<unsigned> default_errno_ret;
  std::vector<std::string> architectures;
  std::vector<std::string> flags;
  std::vector<SeccompRule> rules;
};

// The libseccomp action; InvalidArgument for a name that is unknown or needs a listener.
absl::StatusOr<uint32_t> SeccompAction(const std::string& name, std::optional<unsigned> errno_ret);

// What a filter becomes for the kernel. Compiled once per container, loaded by each of its
// processes.
class SeccompProgram {
 public:
  // Answers ENOSYS for system calls above the highest one that the profile names, unless its default
  // is to allow: a program then falls back to what it did before the call existed. As runc.
  static absl::StatusOr<SeccompProgram> Compile(const SeccompProfile& profile);
  // Of what Bytes gave.
  static absl::StatusOr<SeccompProgram> FromBytes(absl::string_view bytes);
  std::string Bytes() const;
  // Needs no_new_privs or CAP_SYS_ADMIN. Does not set no_new_privs.
  absl::Status Load() const;

 private:
  uint32_t flags_ = 0;
  std::vector<sock_filter> instructions_;
};

}  // namespace kata::agent
