// SPDX-License-Identifier: Apache-2.0
// Stands for virtiofsd where nothing is served: says of itself what QEMU's says, and does nothing. Static, so that it
// opens no file once it runs: the sandbox's mount namespace lets go of most file systems.
#include <unistd.h>

#include <string_view>

int main(int argc, char** argv) {
  constexpr std::string_view kHelp = "-o source=PATH\n";
  if (argc > 1 && std::string_view(argv[1]) == "--help") {
    return ::write(1, kHelp.data(), kHelp.size()) == static_cast<ssize_t>(kHelp.size()) ? 0 : 1;
  }
  for (;;) ::pause();
}
