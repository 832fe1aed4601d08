// SPDX-License-Identifier: Apache-2.0
// Types of an Any: callers write the bare name or put a prefix and a slash before it.
#pragma once

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/string_view.h>

#include "proto/schema/wire.pb.h"

namespace kata::shimv2 {

inline bool HasType(const wire::Any& any, absl::string_view name) {
  return any.type_url() == name || absl::EndsWith(any.type_url(), absl::StrCat("/", name));
}

}  // namespace kata::shimv2
