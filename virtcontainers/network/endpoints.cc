// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/network/endpoints.h"

#include <fcntl.h>
#include <netlink/route/link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include <absl/strings/numbers.h>

#include "virtcontainers/network/redirect.h"

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

absl::StatusOr<std::shared_ptr<Endpoints>> Endpoints::Join(std::shared_ptr<const NetworkNamespace> place,
                                                           const std::string& path, const std::string& record) {
  auto endpoints = std::make_shared<Endpoints>();
  endpoints->place_ = place;
  absl::Status status = place->Run([&] { return endpoints->JoinAll(path, record); });
  if (!status.ok()) {
    status.Update(endpoints->Remove());
    return Annotate(status, absl::StrCat("joining the network \"", path, "\""));
  }
  return endpoints;
}

absl::Status Endpoints::JoinAll(const std::string& path, const std::string& record) {
  ASSIGN_OR_RETURN(socket_, OpenNetlink());
  ASSIGN_OR_RETURN(PodNetwork network, ReadPodNetwork(socket_.get()));
  if (network.interfaces.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const uint64_t number, NamespaceNumber(place_->fd()));
  RETURN_IF_ERROR(WriteRecord(record, number, path));
  network_.for_guest = std::move(network.for_guest);
  // Taps of another machine are among them: which one it is says nothing to a user.
  for (const PodInterface& interface : network.interfaces) {
    if (HasRedirect(socket_.get(), interface.index))
      return absl::AlreadyExistsError("it serves another pod's machine already");
  }
  for (PodInterface& interface : network.interfaces) {
    const std::string what = absl::StrCat("interface \"", interface.name, "\"");
    absl::StatusOr<Tap> tap = MakeTap(socket_.get(), interface);
    if (!tap.ok()) return Annotate(tap.status(), what);
    RETURN_IF_ERROR(Annotate(Redirect(socket_.get(), tap->index, interface.index), what));
    // Last: from here on the namespace's own kernel receives nothing.
    RETURN_IF_ERROR(Annotate(Redirect(socket_.get(), interface.index, tap->index), what));
    taps_.push_back(std::move(*tap));
    network_.interfaces.push_back(std::move(interface));
  }
  return absl::OkStatus();
}

std::vector<hypervisors::Device> Endpoints::Cards(uint32_t vcpus) const {
  std::vector<hypervisors::Device> cards;
  for (size_t i = 0; i < taps_.size(); ++i) {
    hypervisors::NetworkCard card;
    card.tap = taps_[i].name;
    card.mac = network_.interfaces[i].mac;
    card.queues = std::clamp(vcpus, card.queues, hypervisors::kCardQueuesMax);
    cards.push_back({absl::StrCat("net", network_.interfaces[i].index), card});
  }
  return cards;
}

void Endpoints::LetGo() {
  for (Tap& tap : taps_) tap.fd.reset();
}

absl::Status Endpoints::Remove() {
  LetGo();
  absl::Status status;
  for (const PodInterface& interface : network_.interfaces) {
    status.Update(Annotate(RemoveRedirect(socket_.get(), interface.index),
                           absl::StrCat("leaving interface \"", interface.name, "\"")));
  }
  network_.interfaces.clear();
  return status;
}

absl::Status RemoveEndpoints(const std::string& record) {
  std::ifstream file(record);
  uint64_t recorded = 0;
  std::string path;
  if (!(file >> recorded) || !std::getline(file >> std::ws, path)) return absl::OkStatus();
  const absl::StatusOr<std::shared_ptr<const NetworkNamespace>> place = NetworkNamespace::Open(path);
  // It went with its pod.
  if (!place.ok()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const uint64_t number, NamespaceNumber((*place)->fd()));
  if (number != recorded) return absl::OkStatus();
  return (*place)->Run([]() -> absl::Status {
    ASSIGN_OR_RETURN(const NetlinkSocket socket, OpenNetlink());
    nl_cache* raw = nullptr;
    RETURN_IF_ERROR(NetlinkStatus(rtnl_link_alloc_cache(socket.get(), AF_UNSPEC, &raw), "listing the interfaces"));
    const NetlinkCache links(raw);
    absl::Status status;
    for (nl_object* at = nl_cache_get_first(raw); at != nullptr; at = nl_cache_get_next(at))
      status.Update(RemoveRedirect(socket.get(), rtnl_link_get_ifindex(reinterpret_cast<rtnl_link*>(at))));
    return status;
  });
}

}  // namespace kata::virtcontainers
