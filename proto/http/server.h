// SPDX-License-Identifier: Apache-2.0
// HTTP for small pages: one page for each request, and the connection ends. Who asks too much or too slowly loses the
// connection, and nobody else notices. Io thread only.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "proto/base/coro.h"
#include "proto/base/fd.h"

namespace kata::http {

inline constexpr size_t kConnectionsMax = 16;
inline constexpr size_t kHeaderMax = 8u << 10;
inline constexpr size_t kBodyMax = 64u << 10;
// For the request to come, and again for the page to be taken.
inline constexpr std::chrono::seconds kTimeout{10};

inline constexpr char kTextType[] = "text/plain; charset=utf-8";
inline constexpr char kJsonType[] = "application/json";

struct Request {
  std::string query;  // behind the path's '?', as it came
  std::string body;
};

struct Page {
  unsigned status = 200;
  std::string type = kTextType;
  std::string body;
};

using Handler = std::function<Co<Page>(Request request)>;
// "GET /state" → handler; constant once the server runs. A request for something else is answered by the list of them.
using Routes = std::map<std::string, Handler>;

class Server {
 public:
  // `listener` listens, on a unix socket or an address. On a unix socket peers of another user than ours are refused.
  static std::shared_ptr<Server> Start(asio::any_io_executor executor, UniqueFd listener,
                                       std::shared_ptr<const Routes> routes);
  virtual ~Server() = default;
  // No more requests are taken; those under way end as they would.
  virtual void Stop() = 0;
};

}  // namespace kata::http
