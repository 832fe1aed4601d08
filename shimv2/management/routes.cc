// SPDX-License-Identifier: Apache-2.0
// Which page is where, and those that take a few lines.
#include <map>
#include <utility>

#include <absl/strings/ascii.h>
#include <nlohmann/json.hpp>

#include "proto/base/log.h"
#include "proto/base/open_metrics.h"
#include "proto/base/status.h"
#include "proto/base/timeline.h"
#include "shimv2/management/pages.h"

namespace kata::shimv2 {
namespace {

using View = std::shared_ptr<const PodView>;

http::Page TextPage(std::string text, unsigned status = 200) {
  http::Page page;
  page.status = status;
  page.body = std::move(text);
  return page;
}

http::Page JsonPage(std::string text) {
  http::Page page;
  page.type = http::kJsonType;
  page.body = std::move(text);
  return page;
}

Co<http::Page> Health(View view) {
  const std::string state = view->pod->StateWord();
  if (state == "running") co_return TextPage("ok\n");
  const absl::Status status = view->pod->StartStatus();
  const std::string reason(status.message());
  co_return TextPage(absl::StrCat(state, reason.empty() ? "" : ": ", reason, "\n"), 503);
}

Co<http::Page> State(View view) { co_return JsonPage(StatePage(*view)); }

Co<http::Page> Metrics(View view) {
  http::Page page;
  page.type = kOpenMetricsType;
  page.body = co_await MetricsPage(view);
  co_return page;
}

Co<http::Page> Stats(View view) {
  auto text = co_await StatsPage(view);
  if (!text.ok()) co_return TextPage(absl::StrCat(std::string(text.status().message()), "\n"), 503);
  co_return JsonPage(*std::move(text));
}

Co<http::Page> Timeline() {
  nlohmann::ordered_json steps = nlohmann::ordered_json::array();
  for (const timeline::Taken& taken : timeline::Steps())
    steps.push_back({{"at_ns", taken.at_ns}, {"step", taken.step}});
  co_return JsonPage(steps.dump());
}

Co<http::Page> Console(View view) {
  const std::shared_ptr<virtcontainers::Sandbox> sandbox = view->pod->sandbox();
  if (sandbox == nullptr) co_return TextPage("no machine runs\n", 404);
  co_return TextPage(sandbox->ConsoleTail(kConsolePageMax));
}

Co<http::Page> SetLogLevel(std::string body) {
  static const std::map<std::string, log::Level> levels = {{"debug", log::Level::kDebug},
                                                           {"info", log::Level::kInfo},
                                                           {"warning", log::Level::kWarn},
                                                           {"error", log::Level::kError}};
  const std::string word(absl::StripAsciiWhitespace(body));
  const auto level = levels.find(word);
  if (level == levels.end()) co_return TextPage("a log level is one of debug, info, warning, error\n", 400);
  log::SetLevel(level->second);
  log::Info("the log's level is {} now", word);
  co_return TextPage(word + "\n");
}

}  // namespace

std::shared_ptr<const http::Routes> MakeRoutes(View view) {
  auto routes = std::make_shared<http::Routes>();
  (*routes)["GET /healthz"] = [view](http::Request) { return Health(view); };
  (*routes)["GET /state"] = [view](http::Request) { return State(view); };
  (*routes)["GET /metrics"] = [view](http::Request) { return Metrics(view); };
  (*routes)["GET /stats"] = [view](http::Request) { return Stats(view); };
  (*routes)["GET /timeline"] = [](http::Request) { return Timeline(); };
  (*routes)["GET /console"] = [view](http::Request) { return Console(view); };
  (*routes)["PUT /log-level"] = [](http::Request request) { return SetLogLevel(std::move(request.body)); };
  AddExecRoutes(view->execs, *routes);
  return routes;
}

}  // namespace kata::shimv2
