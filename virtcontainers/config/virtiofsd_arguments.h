// SPDX-License-Identifier: Apache-2.0
// What an operator may have virtiofsd told besides. Pure; any thread.
#pragma once

#include <string>

#include <absl/status/status.h>

namespace kata::virtcontainers {

// InvalidArgument, with the name, for an argument that sets what the runtime sets itself: what is shared, with whom,
// and as whom. Any other is the operator's and the program's business.
absl::Status CheckVirtiofsdArgument(const std::string& argument);

}  // namespace kata::virtcontainers
