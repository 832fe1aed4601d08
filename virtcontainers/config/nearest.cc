// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/config/nearest.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace kata::virtcontainers {
namespace {

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({replaced, row[j] + 1, row[j - 1] + 1}));
    }
  }
  return row[b.size()];
}

}  // namespace

std::string Nearest(const std::set<std::string>& known, const std::string& name) {
  std::string best;
  for (const std::string& key : known) {
    if (best.empty() || EditDistance(key, name) < EditDistance(best, name)) best = key;
  }
  return best;
}

}  // namespace kata::virtcontainers
