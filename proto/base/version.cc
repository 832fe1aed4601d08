// SPDX-License-Identifier: Apache-2.0
#include "proto/base/version.h"

namespace kata {

const char kBuildVersion[] = KATA_VERSION;
const char kBuildCommit[] = KATA_COMMIT;

std::string BuildText() { return std::string(kBuildVersion) + ", commit " + kBuildCommit; }

}  // namespace kata
