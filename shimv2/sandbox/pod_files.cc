// SPDX-License-Identifier: Apache-2.0
#include "shimv2/sandbox/pod_files.h"

#include <algorithm>

#include <absl/strings/ascii.h>
#include <absl/strings/escaping.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::shimv2 {
namespace {

constexpr size_t kHostFileMax = 1u << 20;

template <typename Words>
absl::Status CheckWords(const Words& words, absl::string_view what) {
  for (const std::string& word : words) {
    const bool is_word = !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
      return absl::ascii_isgraph(static_cast<unsigned char>(c));
    });
    if (!is_word)
      return absl::InvalidArgumentError(
          absl::StrCat("dns_config: ", what, " \"", absl::CEscape(word), "\" is no word"));
  }
  return absl::OkStatus();
}

// A host may have no such file.
absl::StatusOr<std::string> HostFile(const std::string& path) {
  auto text = ReadFile(path, kHostFileMax);
  if (absl::IsNotFound(text.status())) return std::string();
  return text;
}

}  // namespace

absl::StatusOr<std::string> ResolvConf(const runtime::v1::DnsConfig& dns) {
  RETURN_IF_ERROR(CheckWords(dns.servers(), "server"));
  RETURN_IF_ERROR(CheckWords(dns.searches(), "search domain"));
  RETURN_IF_ERROR(CheckWords(dns.options(), "option"));
  std::string out;
  if (dns.searches_size() > 0) absl::StrAppend(&out, "search ", absl::StrJoin(dns.searches(), " "), "\n");
  for (const std::string& server : dns.servers()) absl::StrAppend(&out, "nameserver ", server, "\n");
  if (dns.options_size() > 0) absl::StrAppend(&out, "options ", absl::StrJoin(dns.options(), " "), "\n");
  return out;
}

absl::Status WritePodFiles(const runtime::v1::PodSandboxConfig& config, const std::string& hostname,
                           const std::string& host_etc, const std::string& directory) {
  ASSIGN_OR_RETURN(std::string resolver, ResolvConf(config.dns_config()));
  if (resolver.empty()) {
    ASSIGN_OR_RETURN(resolver, HostFile(absl::StrCat(host_etc, "/resolv.conf")));
  }
  ASSIGN_OR_RETURN(const std::string hosts, HostFile(absl::StrCat(host_etc, "/hosts")));
  RETURN_IF_ERROR(MakeDirs(directory, 0755));
  RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(directory, "/hostname"), absl::StrCat(hostname, "\n"), 0644));
  RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(directory, "/hosts"), hosts, 0644));
  return WriteFileAtomically(absl::StrCat(directory, "/resolv.conf"), resolver, 0644);
}

}  // namespace kata::shimv2
