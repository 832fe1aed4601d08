// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/id_mapping.h"

namespace kata::virtcontainers {
namespace {

constexpr uint32_t kNobody = 65534;

}  // namespace

uint32_t MappedId(const std::vector<IdMapping>& mappings, uint32_t id) {
  if (mappings.empty()) return id;
  for (const IdMapping& mapping : mappings) {
    if (id >= mapping.container && id - mapping.container < mapping.size)
      return mapping.host + (id - mapping.container);
  }
  return kNobody;
}

}  // namespace kata::virtcontainers
