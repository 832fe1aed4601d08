// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cstdio>
#include <memory>

#include <absl/strings/str_cat.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/kata-ctl/command.h"
#include "tools/kata-ctl/pods/leftovers.h"

namespace kata::ctl {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  bool is_json = false;
  bool removes = false;
};

absl::Status Gc(const Options& options) {
  if (::geteuid() != 0) return absl::PermissionDeniedError("gc: only root can see all of it");
  Json list = Json::array();
  size_t failed = 0;
  for (const Leftover& leftover : FindLeftovers()) {
    Json line = {{"sandbox", leftover.sandbox}, {"why", leftover.why}, {"removed", false}};
    const char* what = leftover.may_be_removed ? "would be removed" : "left alone";
    if (options.removes && leftover.may_be_removed) {
      const absl::Status removed = RemoveLeftover(leftover);
      line["removed"] = removed.ok();
      what = removed.ok() ? "removed" : "could not be removed";
      if (!removed.ok()) {
        ++failed;
        line["error"] = std::string(removed.message());
        std::fprintf(stderr, "kata-ctl: %s\n", std::string(removed.message()).c_str());
      }
    }
    if (!options.is_json) fmt::print("{}: {} ({})\n", leftover.sandbox, what, leftover.why);
    list.push_back(std::move(line));
  }
  if (options.is_json)
    fmt::print("{}\n", list.dump(2));
  else if (list.empty())
    fmt::print("nothing is left of dead shims\n");
  else if (!options.removes)
    fmt::print("nothing was removed: kata-ctl gc --remove does it\n");
  if (failed == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(failed, " of them could not be removed"));
}

}  // namespace

void AddGcCommand(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* gc = app.add_subcommand("gc", "what dead shims have left here; never what is alive");
  gc->add_flag("--remove", options->removes, "remove it; without this it is listed only");
  gc->add_flag("--json", options->is_json, "as JSON");
  gc->callback([&context, options] { context.run = [options] { return Gc(*options); }; });
}

}  // namespace kata::ctl
