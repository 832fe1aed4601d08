// SPDX-License-Identifier: Apache-2.0
#include "shimv2/sha256.h"

#include <nettle/sha2.h>

#include <absl/strings/escaping.h>

namespace kata::shimv2 {

std::string Sha256Hex(const std::string& text) {
  sha256_ctx context;
  sha256_init(&context);
  sha256_update(&context, text.size(), reinterpret_cast<const uint8_t*>(text.data()));
  uint8_t digest[SHA256_DIGEST_SIZE];
  sha256_digest(&context, sizeof(digest), digest);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest), sizeof(digest)));
}

}  // namespace kata::shimv2
