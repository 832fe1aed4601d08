// SPDX-License-Identifier: Apache-2.0
// Stands for virtiofsd where nothing is served: does nothing, whatever its arguments. Static, so that it opens no file
// once it runs: the sandbox's mount namespace lets go of most file systems.
#include <unistd.h>

int main() {
  for (;;) ::pause();
}
