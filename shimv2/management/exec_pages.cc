// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include <nlohmann/json.hpp>

#include "proto/base/status.h"
#include "shimv2/management/pages.h"
#include "virtcontainers/json/members.h"

namespace kata::shimv2 {
namespace {

using Json = nlohmann::json;
using Execs = std::shared_ptr<ManagementExecs>;
using virtcontainers::MemberOf;
using virtcontainers::TextOf;

http::Page PageOf(const absl::Status& status, const Json& answer = Json::object()) {
  http::Page page;
  if (status.ok()) {
    page.type = http::kJsonType;
    page.body = answer.dump() + "\n";
    return page;
  }
  page.status = absl::IsNotFound(status) ? 404 : absl::IsInvalidArgument(status) ? 400 : 409;
  page.body = absl::StrCat(std::string(status.message()), "\n");
  return page;
}

// What is no such JSON has none of the members that are asked for.
Json Parsed(const std::string& body) { return Json::parse(body, nullptr, /*allow_exceptions=*/false); }

uint32_t NumberOf(const Json& json, const char* name) {
  const Json& member = MemberOf(json, name);
  return member.is_number_unsigned() ? member.get<uint32_t>() : 0;
}

Co<http::Page> Start(Execs execs, std::string body) {
  auto exec_id = co_await execs->Start(std::move(body));
  Json answer = Json::object();
  if (exec_id.ok()) answer["exec"] = *exec_id;
  co_return PageOf(exec_id.status(), answer);
}

Co<http::Page> Wait(Execs execs, std::string body) {
  std::string exec_id = TextOf(Parsed(body), "exec");
  auto ended = co_await execs->Wait(std::move(exec_id));
  Json answer = Json::object();
  if (ended.ok() && ended->has_value()) answer["exit_status"] = **ended;
  co_return PageOf(ended.status(), answer);
}

Co<http::Page> Resize(Execs execs, std::string body) {
  const Json json = Parsed(body);
  std::string exec_id = TextOf(json, "exec");
  const uint32_t width = NumberOf(json, "width");
  const uint32_t height = NumberOf(json, "height");
  absl::Status status = co_await execs->Resize(std::move(exec_id), width, height);
  co_return PageOf(status);
}

Co<http::Page> CloseStdin(Execs execs, std::string body) {
  std::string exec_id = TextOf(Parsed(body), "exec");
  absl::Status status = co_await execs->CloseStdin(std::move(exec_id));
  co_return PageOf(status);
}

Co<http::Page> Kill(Execs execs, std::string body) {
  const Json json = Parsed(body);
  std::string exec_id = TextOf(json, "exec");
  const uint32_t signal = NumberOf(json, "signal");
  absl::Status status = co_await execs->Kill(std::move(exec_id), signal);
  co_return PageOf(status);
}

}  // namespace

void AddExecRoutes(Execs execs, http::Routes& routes) {
  routes["POST /exec"] = [execs](http::Request request) { return Start(execs, std::move(request.body)); };
  routes["POST /exec/wait"] = [execs](http::Request request) { return Wait(execs, std::move(request.body)); };
  routes["POST /exec/resize"] = [execs](http::Request request) { return Resize(execs, std::move(request.body)); };
  routes["POST /exec/close-stdin"] = [execs](http::Request request) {
    return CloseStdin(execs, std::move(request.body));
  };
  routes["POST /exec/kill"] = [execs](http::Request request) { return Kill(execs, std::move(request.body)); };
}

}  // namespace kata::shimv2
