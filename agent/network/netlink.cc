// SPDX-License-Identifier: Apache-2.0
#include "agent/network/netlink.h"

#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/route/rtnl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include <absl/strings/str_cat.h>

#include "agent/base/errors.h"

namespace kata::agent {
namespace {

// A dump during which the kernel's state changed is made again.
constexpr int kDumpTriesMax = 16;

using Message = std::unique_ptr<nl_msg, NetlinkPut<nlmsg_free>>;

absl::Status LibraryError(int error, absl::string_view what) {
  return absl::InternalError(absl::StrCat(what, ": ", nl_geterror(error)));
}

struct Collector {
  std::vector<Netlink::Object> objects;
  int error = 0;
};

void OnObject(nl_object* object, void* collector) {
  nl_object_get(object);
  static_cast<Collector*>(collector)->objects.emplace_back(object);
}

int OnMessage(nl_msg* message, void* argument) {
  auto* collector = static_cast<Collector*>(argument);
  const int error = nl_msg_parse(message, OnObject, collector);
  // What libnl does not know is none of ours.
  if (error < 0 && error != -NLE_AF_NOSUPPORT && error != -NLE_MSGTYPE_NOSUPPORT) collector->error = error;
  return NL_OK;
}

}  // namespace

absl::StatusOr<Netlink> Netlink::Open() {
  Socket socket(nl_socket_alloc());
  if (socket == nullptr) return absl::ResourceExhaustedError("opening a socket for the network: out of memory");
  if (int error = nl_connect(socket.get(), NETLINK_ROUTE); error < 0) {
    return LibraryError(error, "opening a socket for the network");
  }
  // For the kernel's words about what it refuses; without them its errno has to do.
  const int on = 1;
  ::setsockopt(nl_socket_get_fd(socket.get()), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
  return Netlink(std::move(socket));
}

int Netlink::OnAcknowledged(nl_msg*, void* answer) {
  static_cast<Answer*>(answer)->has_come = true;
  return NL_STOP;
}

int Netlink::OnError(sockaddr_nl*, nlmsgerr* error, void* argument) {
  auto* answer = static_cast<Answer*>(argument);
  answer->has_come = true;
  answer->error = -error->error;
  // The error stands at the start of its message's payload; after it, the message that it answers, whole or its
  // header, then what else the kernel says.
  auto* header = reinterpret_cast<nlmsghdr*>(reinterpret_cast<char*>(error) - NLMSG_HDRLEN);
  if ((header->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return NL_STOP;
  size_t said = sizeof(*error);
  if ((header->nlmsg_flags & NLM_F_CAPPED) == 0) said += error->msg.nlmsg_len - NLMSG_HDRLEN;
  const nlattr* text = nlmsg_find_attr(header, static_cast<int>(said), NLMSGERR_ATTR_MSG);
  if (text != nullptr) {
    const auto size = static_cast<size_t>(nla_len(text));
    answer->reason.assign(static_cast<const char*>(nla_data(text)), size);
    answer->reason.resize(std::min(answer->reason.find('\0'), size));
  }
  return NL_STOP;
}

void Netlink::Expect(Answer* answer) {
  nl_socket_modify_cb(socket_.get(), NL_CB_ACK, NL_CB_CUSTOM, OnAcknowledged, answer);
  nl_socket_modify_err_cb(socket_.get(), NL_CB_CUSTOM, OnError, answer);
}

absl::Status Netlink::Request(int built, nl_msg* message, absl::string_view what, std::initializer_list<int> allowed) {
  if (built < 0) return LibraryError(built, what);
  const Message owned(message);
  Answer answer;
  Expect(&answer);
  if (int error = nl_send_auto(socket_.get(), message); error < 0) return LibraryError(error, what);
  while (!answer.has_come) {
    if (int error = nl_recvmsgs_default(socket_.get()); error < 0 && !answer.has_come) return LibraryError(error, what);
  }
  if (answer.error == 0 || std::find(allowed.begin(), allowed.end(), answer.error) != allowed.end()) {
    return absl::OkStatus();
  }
  const absl::Status status = SystemError(answer.error, what);
  if (answer.reason.empty()) return status;
  return absl::Status(status.code(), absl::StrCat(status.message(), " (", answer.reason, ")"));
}

absl::StatusOr<std::vector<Netlink::Object>> Netlink::Dump(int type, int family, absl::string_view what) {
  Collector collector;
  Answer answer;
  Expect(&answer);
  nl_socket_modify_cb(socket_.get(), NL_CB_VALID, NL_CB_CUSTOM, OnMessage, &collector);
  int error = -NLE_DUMP_INTR;
  for (int i = 0; i < kDumpTriesMax && error == -NLE_DUMP_INTR; ++i) {
    collector.objects.clear();
    error = nl_rtgen_request(socket_.get(), type, family, NLM_F_DUMP);
    if (error >= 0) error = nl_recvmsgs_default(socket_.get());
  }
  if (answer.error != 0) return SystemError(answer.error, what);
  if (error >= 0) error = collector.error;
  if (error < 0) return LibraryError(error, what);
  return std::move(collector.objects);
}

}  // namespace kata::agent
