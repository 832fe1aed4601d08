// SPDX-License-Identifier: Apache-2.0
#include "tools/kata-monitor/overview.h"

// The linker's names for the bytes of the file.
extern "C" {
extern const char kata_overview_begin[];
extern const char kata_overview_end[];
}

asm(".section .rodata\n"
    ".global kata_overview_begin\n"
    ".global kata_overview_end\n"
    "kata_overview_begin:\n"
    ".incbin \"" KATA_OVERVIEW_FILE
    "\"\n"
    "kata_overview_end:\n"
    ".previous\n");

namespace kata::monitor {

std::string OverviewPage() { return {kata_overview_begin, kata_overview_end}; }

}  // namespace kata::monitor
