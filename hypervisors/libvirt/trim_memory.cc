// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/trim_memory.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cinttypes>
#include <cstdio>
#include <memory>
#include <string_view>
#include <vector>

namespace kata::hypervisors {
namespace {

struct Range {
  uintptr_t begin;
  uintptr_t end;
};

// Executable mappings of files. They are never written, so that dropping their pages loses nothing; a page of a
// writable or once writable mapping could be a private copy.
std::vector<Range> CodeOfFiles() {
  std::vector<Range> ranges;
  std::unique_ptr<FILE, int (*)(FILE*)> maps(std::fopen("/proc/self/maps", "re"), &std::fclose);
  if (maps == nullptr) return ranges;
  char line[4352];  // a path has at most 4096 bytes
  while (std::fgets(line, sizeof(line), maps.get()) != nullptr) {
    Range range{};
    char permissions[5] = {};
    uint64_t inode = 0;
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %" SCNu64, &range.begin, &range.end, permissions,
                    &inode) != 4) {
      continue;
    }
    if (std::string_view(permissions) == "r-xp" && inode != 0) ranges.push_back(range);
  }
  return ranges;
}

}  // namespace

void TrimMemory() {
  malloc_trim(0);
  for (const Range& range : CodeOfFiles()) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the address comes from the kernel as text
    madvise(reinterpret_cast<void*>(range.begin), range.end - range.begin, MADV_DONTNEED);
  }
}

}  // namespace kata::hypervisors
