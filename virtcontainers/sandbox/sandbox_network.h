// SPDX-License-Identifier: Apache-2.0
// The pod's network for as long as its sandbox lives: the namespace, what it has, the machine's cards for that, and
// what the guest is told. Interfaces that come while the machine runs are plugged in, those that go are unplugged. Io
// thread only.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "hypervisors/hypervisor.h"
#include "proto/ttrpc/connection.h"
#include "virtcontainers/network/endpoints.h"
#include "virtcontainers/network/network_monitor.h"
#include "virtcontainers/network/port_forward.h"
#include "virtcontainers/network/resolver_relay.h"
#include "virtcontainers/oci/host_namespaces.h"
#include "virtcontainers/sandbox.h"

namespace kata::virtcontainers {

// From the first of several changes that come together to the look at them.
inline constexpr std::chrono::milliseconds kNetworkSettle{20};
// After a change, for the resolver that comes with it.
inline constexpr std::chrono::seconds kResolverSettle{1};

class SandboxNetwork : public std::enable_shared_from_this<SandboxNetwork> {
 public:
  SandboxNetwork(asio::any_io_executor executor, asio::thread_pool& pool,
                 std::shared_ptr<hypervisors::Hypervisor> hypervisor);

  // Opens the pod's namespace, or makes one where there is no path; also for a path of the host's own, if `host` lets.
  Co<absl::Status> Open(std::string path, HostNamespace host);
  // Joins what is there already and adds its cards to the machine's spec. The runtime directory is there.
  Co<absl::Status> Join(NetworkModel model, std::string record, std::shared_ptr<hypervisors::VmSpec> spec);
  int fd() const { return place_->fd(); }
  // The machine runs with the cards of its spec. From now on changes are looked at.
  void LetGo();
  // The agent has answered, and has these features: the guest is told, now and when something changes.
  Co<absl::Status> Connect(std::shared_ptr<ttrpc::Connection> agent, const std::set<std::string>& features);
  // The loopback of a namespace that others know leads to the guest's, as soon as it can.
  void ForwardPorts(std::shared_ptr<ttrpc::Connection> agent, const std::set<std::string>& features);
  // What the namespace has when this is called is in the guest when it returns.
  Co<absl::Status> CatchUp();
  // Once the machine has ended. Leaves the pod's interfaces as they were.
  Co<absl::Status> Release();

 private:
  struct Card {
    std::string mac;
    bool can_be_unplugged = false;  // those of the machine's start cannot
  };

  Co<absl::Status> Follow();
  Co<absl::Status> Unplug();
  Co<absl::Status> Plug();
  Co<absl::Status> Tell();
  // Docker starts its resolver together with a network's interface.
  Co<void> LookForResolver();
  static Co<absl::Status> LookAgain(std::shared_ptr<SandboxNetwork> self);
  static Co<absl::Status> Watch(std::shared_ptr<SandboxNetwork> self);
  static Co<absl::Status> StartForward(std::shared_ptr<SandboxNetwork> self, std::shared_ptr<ttrpc::Connection> agent);
  hypervisors::Device CardOf(const Endpoint& endpoint) const;
  bool IsCarried(const std::string& tap, const Card& card) const;
  std::set<std::string> InterfacesWithoutCard() const;

  asio::any_io_executor executor_;
  asio::thread_pool& pool_;
  std::shared_ptr<hypervisors::Hypervisor> hypervisor_;
  std::string path_;  // of place_; empty when it was made here
  std::shared_ptr<const NetworkNamespace> place_;
  std::shared_ptr<Endpoints> endpoints_;  // null: the model is none
  std::shared_ptr<NetworkMonitor> monitor_;
  asio::posix::stream_descriptor news_;
  std::shared_ptr<ttrpc::Connection> agent_;
  bool can_set_network_ = false;
  bool can_set_next_hops_ = false;
  bool can_resolve_ = false;
  std::shared_ptr<ResolverRelay> resolver_;  // null: there is none yet
  std::shared_ptr<PortForward> forward_;     // null: ports are not forwarded
  bool will_look_again_ = false;
  uint32_t vcpus_ = 1;
  bool is_qemus_ = false;
  std::map<std::string, Card> cards_;  // that the machine has, by their taps' names
  std::string told_;                   // the last request that the guest has taken
  bool must_look_ = false;             // there was news, and the look at it failed
  bool is_over_ = false;
  std::shared_ptr<Latch> following_;  // null: nobody does
};

}  // namespace kata::virtcontainers
