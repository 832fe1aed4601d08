// SPDX-License-Identifier: Apache-2.0
// A pod's interfaces, each joined to a tap that the machine's card is behind: what comes in at one goes out at the
// other, both ways. By which means, the model says. Blocking; pool threads, one at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "virtcontainers/config/config.h"
#include "virtcontainers/network/network_namespace.h"
#include "virtcontainers/network/tap.h"

namespace kata::virtcontainers {

// An interface's card is known by its tap's name: `kata` and the interface's index.
struct Endpoint {
  PodInterface interface;
  Tap tap;
};

class Endpoints {
 public:
  // Of the namespace `place`, at `path`, for sandbox `owner`. `record` is a file that tells RemoveEndpoints after a
  // crash where they are; written before anything is changed, and not at all for a namespace without interfaces.
  Endpoints(std::shared_ptr<const NetworkNamespace> place, std::string path, NetworkModel model, std::string owner,
            std::string record);

  // Joins all that the namespace has now, and leaves what it has no more. A failure is about what is new; the rest
  // stays, and what can be joined is. AlreadyExists when the namespace's interfaces are another sandbox's, whose id is
  // said.
  absl::Status Follow();
  // The machine has the taps open: from here on they die with it.
  void LetGo();
  // Leaves the pod's interfaces as they were.
  absl::Status Remove();

  const std::vector<std::unique_ptr<Endpoint>>& all() const { return endpoints_; }
  // What the guest is to be told, as of the last Follow.
  const agent::v1::SetNetworkRequest& ForGuest() const { return for_guest_; }

 private:
  absl::Status FollowHere();
  absl::Status Join(PodInterface interface, const std::string& other_owner);
  absl::StatusOr<Tap> MakeEnd(const PodInterface& interface);
  absl::Status PrepareRecord();
  absl::Status Leave(const Endpoint& endpoint) const;

  std::shared_ptr<const NetworkNamespace> place_;
  std::string path_;
  NetworkModel model_;
  std::string owner_;
  std::string record_;
  bool is_recorded_ = false;
  NetlinkSocket socket_;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;
  agent::v1::SetNetworkRequest for_guest_;
};

// What the killed shim of sandbox `owner` has left in the namespace that `record` names, if that is still the same one.
// What another sandbox has there stays.
absl::Status RemoveEndpoints(const std::string& owner, const std::string& record);

}  // namespace kata::virtcontainers
