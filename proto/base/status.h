// SPDX-License-Identifier: Apache-2.0
// Status helpers. Debian's abseil has a string_view of its own (not std's), which Status and StrCat take.
// A chain reads "doing what to "which": cause"; each layer adds with Annotate.
#pragma once

#include <cerrno>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/string_view.h>

namespace kata {

// "what: cause" with the code of `status`; an OK status stays OK.
inline absl::Status Annotate(const absl::Status& status, absl::string_view what) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(what, ": ", status.message()));
}

// Status of an errno value: `what` is the action and its object, the errno text is the cause.
// The text is the C locale's strerror in lower case ("no such file or directory").
absl::Status ErrnoStatus(int error, absl::string_view what);

}  // namespace kata

#define KATA_CONCAT_INNER(a, b) a##b
#define KATA_CONCAT(a, b) KATA_CONCAT_INNER(a, b)

#define RETURN_IF_ERROR(expr)                  \
  do {                                         \
    absl::Status kata_status = (expr);         \
    if (!kata_status.ok()) return kata_status; \
  } while (false)
#define ASSIGN_OR_RETURN(decl, expr) KATA_ASSIGN_OR(return, KATA_CONCAT(kata_so_, __LINE__), decl, expr)
// Coroutine twins: plain statements, because g++ 12 breaks statement expressions that hold co_await.
#define CO_RETURN_IF_ERROR(expr)                  \
  do {                                            \
    absl::Status kata_status = (expr);            \
    if (!kata_status.ok()) co_return kata_status; \
  } while (false)
#define CO_ASSIGN_OR_RETURN(decl, expr) KATA_ASSIGN_OR(co_return, KATA_CONCAT(kata_so_, __LINE__), decl, expr)
#define KATA_ASSIGN_OR(ret, so, decl, expr) \
  auto so = (expr);                         \
  if (!so.ok()) ret so.status();            \
  decl = *std::move(so)
