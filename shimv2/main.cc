// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include <google/protobuf/stubs/logging.h>

#include "proto/base/fd.h"
#include "shimv2/bootstrap/arguments.h"
#include "shimv2/bootstrap/delete.h"
#include "shimv2/bootstrap/info.h"
#include "shimv2/bootstrap/start.h"
#include "shimv2/bootstrap/start_input.h"

namespace {

// containerd shows standard error to the user in the middle of its own line.
int Fail(const absl::Status& status) {
  const std::string text = std::string(status.message()) + (isatty(2) == 1 ? "\n" : "");
  kata::WriteAll(2, text).IgnoreError();
  return 1;
}

int Print(const absl::StatusOr<std::string>& text) {
  if (!text.ok()) return Fail(text.status());
  return kata::WriteAll(1, *text).ok() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  // It would write on standard error about input that is tried as one message and then read as another, and containerd
  // takes that for a part of the answer.
  google::protobuf::SetLogHandler(nullptr);
  auto arguments = kata::shimv2::ParseArguments(std::vector<std::string>(argv + 1, argv + argc));
  if (!arguments.ok()) return Fail(arguments.status());
  if (arguments->help) return Print(kata::shimv2::HelpText());
  if (arguments->version) return Print(kata::shimv2::VersionText());
  if (arguments->info) {
    auto input = kata::shimv2::ReadCallerInput(0, kata::shimv2::kCallerInputTimeout);
    if (!input.ok()) return Fail(input.status());
    return Print(kata::shimv2::RuntimeInfoBytes(*input));
  }
  if (arguments->action == "start") return Print(kata::shimv2::Start(*arguments));
  if (arguments->action == "delete") return Print(kata::shimv2::Delete(*arguments));
  return Fail(absl::InvalidArgumentError("containerd-shim-kata-v2 is run by containerd: action \"" + arguments->action +
                                         "\" is neither \"start\" nor \"delete\"; -help says more"));
}
