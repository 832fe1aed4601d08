// SPDX-License-Identifier: Apache-2.0
// One socket to the kernel's network (NETLINK_ROUTE), of the thread's network namespace. A call blocks until the
// kernel has answered, which it does within the call; it waits for no device. One thread at a time.
#pragma once

#include <netlink/netlink.h>
#include <netlink/object.h>
#include <netlink/socket.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/statusor.h>
#include <absl/strings/string_view.h>

namespace kata::agent {

// For what libnl allocates: each type has its own function to let go of it.
template <auto kPut>
struct NetlinkPut {
  template <typename T>
  void operator()(T* object) const {
    kPut(object);
  }
};

class Netlink {
 public:
  static absl::StatusOr<Netlink> Open();

  // Sends a message that a function of libnl made, and lets go of it. `built` is that function's result, `what` the
  // action and its object. An errno of `allowed` is as good as success.
  absl::Status Request(int built, nl_msg* message, absl::string_view what, std::initializer_list<int> allowed = {});
  using Object = std::unique_ptr<nl_object, NetlinkPut<nl_object_put>>;
  // All objects of a kind, RTM_GET*, of one family or all (AF_UNSPEC); each is libnl's type for this kind.
  absl::StatusOr<std::vector<Object>> Dump(int type, int family, absl::string_view what);

 private:
  struct Answer {
    bool has_come = false;
    int error = 0;       // errno
    std::string reason;  // the kernel's words, if it has any
  };
  using Socket = std::unique_ptr<nl_sock, NetlinkPut<nl_socket_free>>;
  explicit Netlink(Socket socket) : socket_(std::move(socket)) {}
  void Expect(Answer* answer);
  static int OnAcknowledged(nl_msg* message, void* answer);
  static int OnError(sockaddr_nl* from, nlmsgerr* error, void* answer);

  Socket socket_;
};

}  // namespace kata::agent
