// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/accelerator/host_tsc.h"

#if defined(__x86_64__)
#include <x86intrin.h>

#include <chrono>
#include <thread>
#endif

namespace kata::hypervisors {
#if defined(__x86_64__)
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kDistance{5};
constexpr int kSamples = 8;

struct Sample {
  uint64_t ticks = 0;
  Clock::time_point time;
};

// The one of some pairs whose two readings were taken closest to each other: this thread may be interrupted between.
Sample TakeSample() {
  Sample best;
  Clock::duration narrowest = Clock::duration::max();
  for (int i = 0; i < kSamples; ++i) {
    const Clock::time_point before = Clock::now();
    const uint64_t ticks = __rdtsc();
    const Clock::duration width = Clock::now() - before;
    if (width >= narrowest) continue;
    narrowest = width;
    best = Sample{ticks, before + width / 2};
  }
  return best;
}

}  // namespace

uint32_t HostTscKhz() {
  const Sample begin = TakeSample();
  std::this_thread::sleep_for(kDistance);
  const Sample end = TakeSample();
  const double milliseconds = std::chrono::duration<double, std::milli>(end.time - begin.time).count();
  return static_cast<uint32_t>(static_cast<double>(end.ticks - begin.ticks) / milliseconds);
}
#else
uint32_t HostTscKhz() { return 0; }
#endif

}  // namespace kata::hypervisors
