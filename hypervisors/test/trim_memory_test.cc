// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/trim_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "proto/base/fd.h"

namespace kata::hypervisors {
namespace {

constexpr size_t kSize = 1u << 20;

// KiB of the mapping at `address` that are in memory; -1 when there is no such mapping.
long ResidentKib(const void* address) {
  FILE* file = std::fopen("/proc/self/smaps", "re");
  char line[4352];
  bool is_inside = false;
  long found = -1;
  while (found < 0 && std::fgets(line, sizeof(line), file) != nullptr) {
    uintptr_t begin = 0;
    uintptr_t end = 0;
    long kib = 0;
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &begin, &end) == 2) {
      is_inside = begin == reinterpret_cast<uintptr_t>(address);
    } else if (is_inside && std::sscanf(line, "Rss: %ld kB", &kib) == 1) {
      found = kib;
    }
  }
  std::fclose(file);
  return found;
}

class TrimMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/trim_memory_test.XXXXXX";
    file_.reset(mkostemp(name, O_CLOEXEC));
    ASSERT_TRUE(file_.valid());
    unlink(name);
    const std::string content(kSize, 'x');
    ASSERT_EQ(write(file_.get(), content.data(), kSize), static_cast<ssize_t>(kSize));
  }
  char* Map(int protection) const {
    void* at = mmap(nullptr, kSize, protection, MAP_PRIVATE | MAP_POPULATE, file_.get(), 0);
    return at == MAP_FAILED ? nullptr : static_cast<char*>(at);
  }
  UniqueFd file_;
};

TEST_F(TrimMemoryTest, CodeIsDroppedAndComesBack) {
  const char* code = Map(PROT_READ | PROT_EXEC);
  ASSERT_NE(code, nullptr);
  ASSERT_GT(ResidentKib(code), 0);
  TrimMemory();
  EXPECT_EQ(ResidentKib(code), 0);
  EXPECT_EQ(code[kSize - 1], 'x');
}

TEST_F(TrimMemoryTest, WrittenPagesStay) {
  char* data = Map(PROT_READ | PROT_WRITE);
  ASSERT_NE(data, nullptr);
  std::memset(data, 'y', kSize);
  TrimMemory();
  EXPECT_EQ(data[0], 'y');
  ASSERT_EQ(mprotect(data, kSize, PROT_READ), 0);  // as the loader does after relocation
  TrimMemory();
  EXPECT_EQ(data[kSize - 1], 'y');
}

}  // namespace
}  // namespace kata::hypervisors
