// SPDX-License-Identifier: Apache-2.0
// Rows of words in columns as wide as their widest word, and the words of numbers in them. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kata::ctl {

using Row = std::vector<std::string>;

// The first row is the heading. Every row has as many words. A control character becomes '?'.
std::string Table(std::vector<Row> rows);

// "512 MiB", "1.5 GiB".
std::string Bytes(uint64_t bytes);
// "12s", "5m", "3h", "8d": of `seconds`, rounded down.
std::string Age(int64_t seconds);

}  // namespace kata::ctl
