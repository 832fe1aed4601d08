// SPDX-License-Identifier: Apache-2.0
// Which erofs images a guest can mount. What makes them on the host (erofs-utils) may be newer than the guest's kernel,
// and the host's kernel may mount what the guest's cannot. Blocking; pool threads.
#pragma once

#include <string>

#include <absl/status/status.h>

namespace kata::virtcontainers {

// FailedPrecondition with the reason for one that Linux 6.1, the oldest kernel of a guest, with the options of
// configs/kernel cannot mount as it stands: of later formats, other compression than LZ4, blocks of another size than
// 4 KiB, parts on further devices. InvalidArgument for what is no such image.
absl::Status CheckErofsImage(const std::string& path);

}  // namespace kata::virtcontainers
