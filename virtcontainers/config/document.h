// SPDX-License-Identifier: Apache-2.0
// What people read about the configuration, written from the table of keys. Pure.
#pragma once

#include <string>

namespace kata::virtcontainers {

// The commented default file, configs/configuration.toml.
std::string DefaultConfigFile();
// docs/configuration.md.
std::string ConfigDocument();

}  // namespace kata::virtcontainers
