// SPDX-License-Identifier: Apache-2.0
#include "tools/kata-monitor/pages.h"

#include <functional>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "proto/base/open_metrics.h"
#include "proto/base/status.h"
#include "tools/kata-monitor/merge.h"
#include "tools/kata-monitor/overview.h"
#include "tools/management/ask.h"
#include "tools/management/sandboxes.h"

namespace kata::monitor {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr char kHtmlType[] = "text/html; charset=utf-8";

http::Page TextPage(std::string text, unsigned status) {
  http::Page page;
  page.status = status;
  page.body = std::move(text);
  return page;
}

Co<management::Answers> AskAll(std::string path) {
  http::Question question;
  question.path = std::move(path);
  std::vector<std::string> sandboxes = management::ListSandboxes();
  co_return co_await management::AskShims(std::move(sandboxes), std::move(question), kShimPatience);
}

bool IsGood(const absl::StatusOr<http::Answer>& answer) { return answer.ok() && answer->status == 200; }

Co<http::Page> Metrics() {
  const Clock::time_point began = Clock::now();
  const management::Answers answers = co_await AskAll("/metrics");
  MergedMetrics merged;
  double good = 0;
  for (const auto& [sandbox, answer] : answers) {
    if (!IsGood(answer)) continue;
    ++good;
    merged.Add(sandbox, answer->body);
  }
  OpenMetrics own;
  own.Begin(OpenMetrics::Kind::kGauge, "kata_monitor_sandboxes", "Sandboxes of this node.");
  own.Add({{"answers", "yes"}}, good);
  own.Add({{"answers", "no"}}, static_cast<double>(answers.size()) - good);
  own.Begin(OpenMetrics::Kind::kGauge, "kata_monitor_scrape_seconds", "What this page has taken.");
  own.Add({}, std::chrono::duration<double>(Clock::now() - began).count());
  http::Page page;
  page.type = kOpenMetricsType;
  page.body = merged.Text(own.Text());
  co_return page;
}

// For the page: each pod's state, figures and time line in one.
Co<http::Page> Pods() {
  const management::Answers states = co_await AskAll("/state");
  const management::Answers figures = co_await AskAll("/metrics");
  const management::Answers timelines = co_await AskAll("/timeline");
  Json list = Json::array();
  for (const auto& [sandbox, answer] : states) {
    Json pod = {{"sandbox", sandbox}};
    if (IsGood(answer))
      pod["state"] = Json::parse(answer->body, nullptr, /*allow_exceptions=*/false);
    else
      pod["error"] = answer.ok() ? answer->body : std::string(answer.status().message());
    if (const auto at = figures.find(sandbox); at != figures.end() && IsGood(at->second))
      pod["metrics"] = at->second->body;
    if (const auto at = timelines.find(sandbox); at != timelines.end() && IsGood(at->second))
      pod["timeline"] = Json::parse(at->second->body, nullptr, /*allow_exceptions=*/false);
    list.push_back(std::move(pod));
  }
  http::Page page;
  page.type = http::kJsonType;
  page.body = list.dump(-1, ' ', false, Json::error_handler_t::replace);
  co_return page;
}

Co<http::Page> Overview() {
  http::Page page;
  page.type = kHtmlType;
  page.body = OverviewPage();
  co_return page;
}

Co<http::Page> Health() { co_return TextPage("ok\n", 200); }

// A place among those that ask the shims.
class Place {
 public:
  explicit Place(int& taken) : taken_(taken) { ++taken_; }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() { --taken_; }

 private:
  int& taken_;
};

Co<http::Page> InTurn(std::shared_ptr<int> taken, std::function<Co<http::Page>()> make) {
  if (*taken >= kRequestsMax) co_return TextPage("too many requests at once; try again\n", 503);
  const Place place(*taken);
  co_return co_await make();
}

}  // namespace

std::shared_ptr<const http::Routes> MakeRoutes() {
  auto routes = std::make_shared<http::Routes>();
  auto taken = std::make_shared<int>(0);
  (*routes)["GET /"] = [](http::Request) { return Overview(); };
  (*routes)["GET /healthz"] = [](http::Request) { return Health(); };
  (*routes)["GET /metrics"] = [taken](http::Request) { return InTurn(taken, Metrics); };
  (*routes)["GET /pods"] = [taken](http::Request) { return InTurn(taken, Pods); };
  return routes;
}

}  // namespace kata::monitor
