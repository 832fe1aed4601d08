// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/network/redirect.h"

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <netlink/route/act/mirred.h>
#include <netlink/route/action.h>
#include <netlink/route/classifier.h>
#include <netlink/route/cls/matchall.h>
#include <netlink/route/cls/u32.h>
#include <netlink/route/link.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/tc.h>

#include <algorithm>
#include <string_view>

namespace kata::virtcontainers {
namespace {

constexpr uint32_t kIngress = 0xffff0000;  // the handle that the kernel gives it
// By which ours is known. Filters of others come first, if they want.
constexpr uint16_t kPriority = 0x4b43;

using Qdisc = std::unique_ptr<rtnl_qdisc, NetlinkFree<rtnl_qdisc_put>>;
using Filter = std::unique_ptr<rtnl_cls, NetlinkFree<rtnl_cls_put>>;
using Link = std::unique_ptr<rtnl_link, NetlinkFree<rtnl_link_put>>;
using Action = std::unique_ptr<rtnl_act, NetlinkFree<rtnl_act_put>>;

absl::Status OutOfMemory() { return absl::ResourceExhaustedError("making a filter: out of memory"); }

absl::StatusOr<Qdisc> Ingress(int interface) {
  Qdisc qdisc(rtnl_qdisc_alloc());
  if (qdisc == nullptr) return OutOfMemory();
  rtnl_tc_set_ifindex(TC_CAST(qdisc.get()), interface);
  rtnl_tc_set_parent(TC_CAST(qdisc.get()), TC_H_INGRESS);
  rtnl_tc_set_handle(TC_CAST(qdisc.get()), kIngress);
  rtnl_tc_set_kind(TC_CAST(qdisc.get()), "ingress");
  return qdisc;
}

absl::StatusOr<Filter> EmptyFilter(int interface) {
  Filter filter(rtnl_cls_alloc());
  if (filter == nullptr) return OutOfMemory();
  rtnl_tc_set_ifindex(TC_CAST(filter.get()), interface);
  rtnl_tc_set_parent(TC_CAST(filter.get()), kIngress);
  rtnl_cls_set_prio(filter.get(), kPriority);
  rtnl_cls_set_protocol(filter.get(), ETH_P_ALL);
  return filter;
}

absl::StatusOr<Action> SendBy(int interface) {
  Action action(rtnl_act_alloc());
  if (action == nullptr) return OutOfMemory();
  rtnl_tc_set_kind(TC_CAST(action.get()), "mirred");
  rtnl_mirred_set_action(action.get(), TCA_EGRESS_REDIR);
  rtnl_mirred_set_ifindex(action.get(), static_cast<uint32_t>(interface));
  rtnl_mirred_set_policy(action.get(), TC_ACT_STOLEN);
  return action;
}

absl::Status AddFilter(nl_sock* socket, int from, int to, const char* kind) {
  ASSIGN_OR_RETURN(const Filter filter, EmptyFilter(from));
  ASSIGN_OR_RETURN(const Action action, SendBy(to));
  rtnl_tc_set_kind(TC_CAST(filter.get()), kind);
  if (std::string_view(kind) == "u32") {
    rtnl_u32_add_key_uint32(filter.get(), 0, 0, 0, 0);  // anything
    rtnl_u32_set_cls_terminal(filter.get());
    rtnl_u32_add_action(filter.get(), action.get());
  } else {
    rtnl_mall_append_action(filter.get(), action.get());
  }
  return NetlinkStatus(rtnl_cls_add(socket, filter.get(), NLM_F_CREATE | NLM_F_EXCL),
                       absl::StrCat("adding a ", kind, " filter"));
}

// Where a filter sends to; 0: to an interface that went.
int Target(rtnl_cls* filter) {
  const char* kind = rtnl_tc_get_kind(TC_CAST(filter));
  if (kind != nullptr && std::string_view(kind) == "u32") {
    rtnl_act* lent = rtnl_u32_get_action(filter);
    return lent != nullptr ? static_cast<int>(rtnl_mirred_get_ifindex(lent)) : 0;
  }
  const Action action(rtnl_mall_get_first_action(filter));
  return action != nullptr ? static_cast<int>(rtnl_mirred_get_ifindex(action.get())) : 0;
}

struct Filters {
  int all = 0;
  int ours = 0;
  std::set<int> targets;  // of ours
};

absl::StatusOr<Filters> ReadFilters(nl_sock* socket, int interface) {
  nl_cache* raw = nullptr;
  RETURN_IF_ERROR(NetlinkStatus(rtnl_cls_alloc_cache(socket, interface, kIngress, &raw), "listing filters"));
  const NetlinkCache filters(raw);
  Filters found;
  for (nl_object* at = nl_cache_get_first(raw); at != nullptr; at = nl_cache_get_next(at)) {
    auto* filter = reinterpret_cast<rtnl_cls*>(at);
    ++found.all;
    if (rtnl_cls_get_prio(filter) != kPriority) continue;
    ++found.ours;
    found.targets.insert(Target(filter));
  }
  return found;
}

// A kernel gives an interface without a queue's length one with its first discipline.
absl::Status AddIngress(nl_sock* socket, rtnl_qdisc* qdisc, int interface) {
  rtnl_link* raw = nullptr;
  RETURN_IF_ERROR(NetlinkStatus(rtnl_link_get_kernel(socket, interface, nullptr, &raw), "looking at it"));
  const Link before(raw);
  RETURN_IF_ERROR(NetlinkStatus(rtnl_qdisc_add(socket, qdisc, NLM_F_CREATE | NLM_F_EXCL), "adding an ingress"));
  if (rtnl_link_get_txqlen(before.get()) != 0) return absl::OkStatus();
  const Link change(rtnl_link_alloc());
  if (change == nullptr) return OutOfMemory();
  rtnl_link_set_txqlen(change.get(), 0);
  const absl::Status set =
      NetlinkStatus(rtnl_link_change(socket, before.get(), change.get(), 0), "setting its queue's length");
  if (!set.ok()) rtnl_qdisc_delete(socket, qdisc);
  return set;
}

}  // namespace

absl::Status Redirect(nl_sock* socket, int from, int to) {
  ASSIGN_OR_RETURN(const Qdisc qdisc, Ingress(from));
  const absl::Status made = AddIngress(socket, qdisc.get(), from);
  if (absl::IsAlreadyExists(made)) {
    ASSIGN_OR_RETURN(const Filters there, ReadFilters(socket, from));
    if (there.ours != 0) return absl::AlreadyExistsError("it serves another machine already");
  } else if (!made.ok()) {
    return made;
  }
  // The simple one is a module that not every kernel has.
  if (AddFilter(socket, from, to, "matchall").ok()) return absl::OkStatus();
  const absl::Status added = AddFilter(socket, from, to, "u32");
  if (!added.ok() && made.ok()) rtnl_qdisc_delete(socket, qdisc.get());
  return added;
}

absl::Status RemoveRedirect(nl_sock* socket, int from, const std::set<int>& to) {
  const absl::StatusOr<Filters> there = ReadFilters(socket, from);
  // No ingress, no interface.
  if (!there.ok() || there->ours == 0) return absl::OkStatus();
  const auto may_go = [&to](int target) { return target == 0 || to.count(target) != 0; };
  if (!std::all_of(there->targets.begin(), there->targets.end(), may_go)) return absl::OkStatus();
  if (there->all == there->ours) {
    ASSIGN_OR_RETURN(const Qdisc qdisc, Ingress(from));
    return NetlinkStatus(rtnl_qdisc_delete(socket, qdisc.get()), "removing an ingress");
  }
  ASSIGN_OR_RETURN(const Filter filter, EmptyFilter(from));
  return NetlinkStatus(rtnl_cls_delete(socket, filter.get(), 0), "removing a filter");
}

}  // namespace kata::virtcontainers
