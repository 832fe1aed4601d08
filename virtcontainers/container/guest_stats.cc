// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/container/guest_stats.h"

#include <net/if.h>

#include <string>

#include <absl/strings/ascii.h>

#include "proto/schema/agent.pb.h"

namespace kata::virtcontainers {
namespace {

// "1GB", "64KB".
constexpr size_t kPageSizeNameMax = 16;

void CleanName(std::string& name) {
  for (char& c : name) {
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c))) c = '?';
  }
}

}  // namespace

absl::Status CleanGuestStats(agent::v1::StatsContainerResponse& stats) {
  auto& metrics = *stats.mutable_metrics();
  if (stats.interfaces_size() > kStatsInterfacesMax || metrics.io().usage_size() > kDisksMax ||
      metrics.hugetlb_size() > kHugePageSizesMax) {
    return absl::ResourceExhaustedError("the guest's answer is too long");
  }
  for (auto& interface : *stats.mutable_interfaces()) {
    if (interface.name().size() >= IFNAMSIZ) return absl::ResourceExhaustedError("the guest's names are too long");
    CleanName(*interface.mutable_name());
  }
  for (auto& size : *metrics.mutable_hugetlb()) {
    if (size.pagesize().size() > kPageSizeNameMax)
      return absl::ResourceExhaustedError("the guest's names are too long");
    CleanName(*size.mutable_pagesize());
  }
  return absl::OkStatus();
}

}  // namespace kata::virtcontainers
