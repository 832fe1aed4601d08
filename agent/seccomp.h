// SPDX-License-Identifier: Apache-2.0
// Translation of the spec's linux.seccomp to a libseccomp filter. Names of system calls and
// architectures that this build does not know are skipped, as other runtimes do. Build may run
// anywhere; Load acts on the calling process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

typedef void* scmp_filter_ctx;

namespace kata::agent {

// System call names over all rules of one profile.
inline constexpr size_t kSeccompNamesMax = 8192;

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

class SeccompFilter {
 public:
  static absl::StatusOr<SeccompFilter> Build(const SeccompProfile& profile);
  SeccompFilter(SeccompFilter&& other) noexcept;
  SeccompFilter& operator=(SeccompFilter&&) = delete;
  ~SeccompFilter();
  // Needs no_new_privs or CAP_SYS_ADMIN. Does not set no_new_privs.
  absl::Status Load() const;
  scmp_filter_ctx context() const { return context_; }

 private:
  explicit SeccompFilter(scmp_filter_ctx context) : context_(context) {}
  scmp_filter_ctx context_;
};

}  // namespace kata::agent
