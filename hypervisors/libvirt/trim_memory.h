// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace kata::hypervisors {

// Gives back what only the start of a machine needed: free heap, and mapped pages of program and libraries, most of
// them libvirt's. What is used again comes back from the page cache. Any thread; takes about a millisecond.
void TrimMemory();

}  // namespace kata::hypervisors
