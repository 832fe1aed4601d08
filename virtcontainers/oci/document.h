// SPDX-License-Identifier: Apache-2.0
// A bundle's config.json: the one place where it is read, bounded and parsed. Any thread; Read blocks.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include <absl/status/statusor.h>
#include <nlohmann/json_fwd.hpp>

namespace kata::virtcontainers {

inline constexpr size_t kConfigJsonSizeMax = 16u << 20;

// Never changed once it is made, so that all of a Create can share it.
class OciDocument {
 public:
  // An error names the file and what is wrong in it.
  static absl::StatusOr<std::shared_ptr<const OciDocument>> Read(const std::string& bundle);
  static absl::StatusOr<std::shared_ptr<const OciDocument>> Parse(const std::string& text);
  // A changed copy of another's, which has the two objects still.
  static std::shared_ptr<const OciDocument> Of(nlohmann::json json);
  ~OciDocument();

  // An object with the objects "process" and "root".
  const nlohmann::json& json() const { return *json_; }

 private:
  OciDocument();
  std::unique_ptr<nlohmann::json> json_;
};

}  // namespace kata::virtcontainers
