// SPDX-License-Identifier: Apache-2.0
// A pod's interfaces, each joined to a tap that the machine's card is behind: what comes in at one goes out at the
// other, both ways. Blocking; pool threads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "hypervisors/device.h"
#include "virtcontainers/network/network_namespace.h"
#include "virtcontainers/network/tap.h"

namespace kata::virtcontainers {

class Endpoints {
 public:
  // Of all that the namespace has. `record` is a file that tells RemoveEndpoints after a crash where they are; written
  // before anything is changed, and not at all for a namespace without interfaces. On failure nothing stays.
  static absl::StatusOr<std::shared_ptr<Endpoints>> Join(std::shared_ptr<const NetworkNamespace> place,
                                                         const std::string& path, const std::string& record);

  // For the machine's start.
  std::vector<hypervisors::Device> Cards(uint32_t vcpus) const;
  // What the guest is to be told; no interfaces when there is nothing to tell.
  const agent::v1::SetNetworkRequest& ForGuest() const { return network_.for_guest; }
  // The machine has the taps open: from here on they die with it.
  void LetGo();
  // Leaves the pod's interfaces as they were.
  absl::Status Remove();

 private:
  absl::Status JoinAll(const std::string& path, const std::string& record);

  std::shared_ptr<const NetworkNamespace> place_;
  NetlinkSocket socket_;
  PodNetwork network_;
  std::vector<Tap> taps_;
};

// What a killed shim has left in the namespace that `record` names, if that is still the same one.
absl::Status RemoveEndpoints(const std::string& record);

}  // namespace kata::virtcontainers
