// SPDX-License-Identifier: Apache-2.0
// The table of configuration keys as a JSON Schema, by which editors check a configuration file. Pure.
#pragma once

#include <nlohmann/json.hpp>

#include "virtcontainers/config/keys.h"

namespace kata::ctl {

nlohmann::ordered_json ConfigSchema();
// A value as ValueAsToml has it: what TOML writes for the kinds of keys there are is JSON as well.
nlohmann::ordered_json ValueAsJson(const virtcontainers::ConfigKey& key, const virtcontainers::Config& config);

}  // namespace kata::ctl
