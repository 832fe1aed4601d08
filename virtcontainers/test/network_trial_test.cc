// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/network/network_trial.h"

#include <net/if.h>
#include <unistd.h>

#include <string>

#include <gtest/gtest.h>

namespace kata::virtcontainers {
namespace {

std::string Interfaces() {
  std::string names;
  struct if_nameindex* const all = ::if_nameindex();
  for (auto* at = all; at != nullptr && at->if_index != 0; ++at) names += std::string(at->if_name) + " ";
  ::if_freenameindex(all);
  return names;
}

TEST(NetworkTrial, LeavesTheHostsInterfacesAlone) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const std::string before = Interfaces();
  EXPECT_TRUE(TryNetwork(NetworkModel::kNone).ok());
  for (const NetworkModel model : {NetworkModel::kTcFilter, NetworkModel::kMacvtap}) {
    const absl::Status status = TryNetwork(model);
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_EQ(Interfaces(), before);
}

}  // namespace
}  // namespace kata::virtcontainers
