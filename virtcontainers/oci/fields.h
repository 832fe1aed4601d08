// SPDX-License-Identifier: Apache-2.0
// What becomes of each field of the OCI runtime specification (version 1.3): one table, which docs/oci-fields.md
// states for users. No field is dropped silently: it is done, refused with one line, or has no effect for a reason
// that the table gives. Pure.
#pragma once

#include <string>
#include <vector>

#include <absl/status/status.h>
#include <nlohmann/json_fwd.hpp>

namespace kata::virtcontainers {

enum class FieldVerdict {
  kDone,      // perhaps within bounds that the note tells
  kRefused,   // InvalidArgument when it is set
  kNoEffect,  // taken and left undone
  kHint,      // bounds nothing: taken without effect in a Create, refused in an Update that asks for just that
};

struct FieldRule {
  // Members are joined by dots, "[]" stands for each entry of a list, "*" for each name of a map. A rule counts for
  // everything below its path as well.
  const char* path;
  FieldVerdict verdict;
  const char* note;  // what to use instead, or the reason
  // Of a refused field: values that are taken all the same.
  bool (*is_harmless)(const nlohmann::json& value) = nullptr;
};

const std::vector<FieldRule>& FieldRules();
// The rules as rows of a Markdown table, in their order.
std::string FieldTable();

// Fields that nobody here knows, as one piece of text for a log line; empty when there are none. The specification
// wants a runtime to run a document of a later version, so they are no error.
inline constexpr size_t kUnknownFieldsShown = 16;
struct FieldReport {
  std::vector<std::string> unknown;
  std::string Text() const;
};

enum class FieldsOf { kCreate, kUpdate };
// `path` is the place of `json` in a document: "" for a whole one, "process", "linux.resources". InvalidArgument that
// names the first refused field with its value.
absl::Status CheckFields(const nlohmann::json& json, const std::string& path, FieldsOf use, FieldReport& report);

}  // namespace kata::virtcontainers
