// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/network/network_trial.h"

#include <sched.h>

#include <cerrno>
#include <thread>

#include "proto/base/status.h"
#include "virtcontainers/network/netlink.h"
#include "virtcontainers/network/redirect.h"
#include "virtcontainers/network/tap.h"

namespace kata::virtcontainers {
namespace {

constexpr char kName[] = "trial";
constexpr uint32_t kMtu = 1500;
constexpr int kLoopback = 1;  // its index in each network namespace

absl::Status TryHere(NetworkModel model) {
  if (::unshare(CLONE_NEWNET) != 0) return ErrnoStatus(errno, "making a network namespace");
  ASSIGN_OR_RETURN(const NetlinkSocket socket, OpenNetlink());
  PodInterface interface;
  interface.index = kLoopback;
  interface.name = kName;
  interface.mtu = kMtu;
  ASSIGN_OR_RETURN(const Tap tap, MakeTap(socket.get(), interface, kName));
  return model == NetworkModel::kTcFilter ? Redirect(socket.get(), tap.index, kLoopback) : absl::OkStatus();
}

}  // namespace

absl::Status TryNetwork(NetworkModel model) {
  if (model == NetworkModel::kNone) return absl::OkStatus();
  absl::Status status;
  std::thread apart([&status, model] { status = TryHere(model); });
  apart.join();
  return status;
}

}  // namespace kata::virtcontainers
