// SPDX-License-Identifier: Apache-2.0
#include "proto/base/sha256.h"

#include <nettle/sha2.h>

#include <absl/strings/escaping.h>

namespace kata {

std::string Sha256Hex(absl::string_view data) {
  sha256_ctx context;
  sha256_init(&context);
  sha256_update(&context, data.size(), reinterpret_cast<const uint8_t*>(data.data()));
  uint8_t digest[SHA256_DIGEST_SIZE];
  sha256_digest(&context, sizeof(digest), digest);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest), sizeof(digest)));
}

}  // namespace kata
