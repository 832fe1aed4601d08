// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/network/endpoints.h"

#include <fcntl.h>
#include <netlink/route/link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <set>
#include <utility>

#include <absl/strings/numbers.h>

#include "virtcontainers/network/macvtap.h"
#include "virtcontainers/network/redirect.h"
#include "virtcontainers/network/tap_link.h"

namespace kata::virtcontainers {
namespace {

// One number of a namespace that is never given to another while this one lives.
absl::StatusOr<uint64_t> NamespaceNumber(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return ErrnoStatus(errno, "reading a network namespace's number");
  return info.st_ino;
}

absl::Status WriteRecord(const std::string& record, uint64_t number, const std::string& path) {
  const std::string text = absl::StrCat(number, " ", path, "\n");
  UniqueFd fd(::open(record.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd.valid() || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return ErrnoStatus(errno, absl::StrCat("writing \"", record, "\""));
  return absl::OkStatus();
}

}  // namespace

Endpoints::Endpoints(std::shared_ptr<const NetworkNamespace> place, std::string path, NetworkModel model,
                     std::string owner, std::string record)
    : place_(std::move(place)),
      path_(std::move(path)),
      model_(model),
      owner_(std::move(owner)),
      record_(std::move(record)) {}

absl::Status Endpoints::Follow() {
  return Annotate(place_->Run([this] { return FollowHere(); }), absl::StrCat("joining the network \"", path_, "\""));
}

absl::Status Endpoints::FollowHere() {
  if (socket_ == nullptr) {
    ASSIGN_OR_RETURN(socket_, OpenNetlink());
  }
  std::map<int, Endpoint*> carried;
  for (const auto& endpoint : endpoints_) carried[endpoint->interface.index] = endpoint.get();
  ASSIGN_OR_RETURN(PodNetwork network,
                   ReadPodNetwork(socket_.get(), owner_, [&carried](int index) { return carried.count(index) != 0; }));
  std::map<int, std::string> macs;
  for (const PodInterface& interface : network.interfaces) macs[interface.index] = interface.mac;
  absl::Status left;
  std::erase_if(endpoints_, [this, &macs, &carried, &left](const std::unique_ptr<Endpoint>& endpoint) {
    const PodInterface& before = endpoint->interface;
    const auto now = macs.find(before.index);
    // The card has the hardware address for good.
    if (now != macs.end() && now->second == before.mac) return false;
    left.Update(Leave(*endpoint));
    carried.erase(before.index);
    return true;
  });
  RETURN_IF_ERROR(left);
  absl::Status joined = std::move(network.problem);
  for (PodInterface& interface : network.interfaces) {
    if (carried.count(interface.index) == 0) joined.Update(Join(std::move(interface), network.other_owner));
  }
  for_guest_ = std::move(network.for_guest);
  return joined;
}

absl::Status Endpoints::Join(PodInterface interface, const std::string& other_owner) {
  const std::string what = absl::StrCat("interface \"", interface.name, "\"");
  if (!other_owner.empty()) {
    return absl::AlreadyExistsError(
        absl::StrCat(what, ": its network namespace serves the machine of sandbox \"", other_owner, "\" already"));
  }
  RETURN_IF_ERROR(PrepareRecord());
  // Of a machine that was killed and whose shim's delete has not come yet.
  RETURN_IF_ERROR(Annotate(RemoveRedirect(socket_.get(), interface.index, {}), what));
  absl::StatusOr<Tap> tap = MakeEnd(interface);
  if (!tap.ok()) return Annotate(tap.status(), what);
  endpoints_.push_back(std::make_unique<Endpoint>(Endpoint{std::move(interface), std::move(*tap)}));
  return absl::OkStatus();
}

absl::StatusOr<Tap> Endpoints::MakeEnd(const PodInterface& interface) {
  if (model_ == NetworkModel::kMacvtap) return MakeMacvtap(socket_.get(), interface, owner_);
  ASSIGN_OR_RETURN(Tap tap, MakeTap(socket_.get(), interface, owner_));
  RETURN_IF_ERROR(Redirect(socket_.get(), tap.index, interface.index));
  // Last: from here on the namespace's own kernel receives nothing.
  RETURN_IF_ERROR(Redirect(socket_.get(), interface.index, tap.index));
  return tap;
}

absl::Status Endpoints::PrepareRecord() {
  if (is_recorded_) return absl::OkStatus();
  ASSIGN_OR_RETURN(const uint64_t number, NamespaceNumber(place_->fd()));
  RETURN_IF_ERROR(WriteRecord(record_, number, path_));
  is_recorded_ = true;
  return absl::OkStatus();
}

void Endpoints::LetGo() {
  for (const auto& endpoint : endpoints_) endpoint->tap.fd.reset();
}

absl::Status Endpoints::Leave(const Endpoint& endpoint) const {
  const absl::Status left = model_ == NetworkModel::kMacvtap
                                ? RemoveMacvtap(socket_.get(), endpoint.tap.index)
                                : RemoveRedirect(socket_.get(), endpoint.interface.index, {endpoint.tap.index});
  return Annotate(left, absl::StrCat("leaving interface \"", endpoint.interface.name, "\""));
}

absl::Status Endpoints::Remove() {
  absl::Status status;
  for (const auto& endpoint : endpoints_) status.Update(Leave(*endpoint));
  endpoints_.clear();
  return status;
}

absl::Status RemoveEndpoints(const std::string& owner, const std::string& record) {
  std::ifstream file(record);
  uint64_t recorded = 0;
  std::string path;
  if (!(file >> recorded) || !std::getline(file >> std::ws, path)) return absl::OkStatus();
  const absl::StatusOr<std::shared_ptr<const NetworkNamespace>> place = NetworkNamespace::Open(path);
  // It went with its pod.
  if (!place.ok()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const uint64_t number, NamespaceNumber((*place)->fd()));
  if (number != recorded) return absl::OkStatus();
  return (*place)->Run([&owner]() -> absl::Status {
    ASSIGN_OR_RETURN(const NetlinkSocket socket, OpenNetlink());
    nl_cache* raw = nullptr;
    RETURN_IF_ERROR(NetlinkStatus(rtnl_link_alloc_cache(socket.get(), AF_UNSPEC, &raw), "listing the interfaces"));
    const NetlinkCache links(raw);
    // Of a machine that has not ended yet.
    std::set<int> taps;
    absl::Status status;
    for (nl_object* at = nl_cache_get_first(raw); at != nullptr; at = nl_cache_get_next(at)) {
      auto* link = reinterpret_cast<rtnl_link*>(at);
      if (OwnerOf(link) != owner) continue;
      taps.insert(rtnl_link_get_ifindex(link));
      if (IsMacvtap(link)) status.Update(RemoveMacvtap(socket.get(), rtnl_link_get_ifindex(link)));
    }
    for (nl_object* at = nl_cache_get_first(raw); at != nullptr; at = nl_cache_get_next(at))
      status.Update(RemoveRedirect(socket.get(), rtnl_link_get_ifindex(reinterpret_cast<rtnl_link*>(at)), taps));
    return status;
  });
}

}  // namespace kata::virtcontainers
