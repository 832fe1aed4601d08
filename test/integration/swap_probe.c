// SPDX-License-Identifier: Apache-2.0
// The hostile end of test_hostile_files.py, which builds it statically:
//   swap_probe DIRECTORY OUTSIDE   for ever: DIRECTORY/swap is a directory, then a symbolic link to OUTSIDE, then one to
//                                  "../../..", then gone; and DIRECTORY/inner, which a mount of the host may lie below, has
//                                  another name. It counts its rounds in DIRECTORY/rounds.
//   swap_probe --who               whose rights it has
// What is to be seen in the directory is made by the host: "kept" is it, by another name.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int exchange(const char* one, const char* other) { return renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE); }

int main(int argc, char** argv) {
  if (argc == 2 && strcmp(argv[1], "--who") == 0) return printf("%u\n", (unsigned)geteuid()) < 0;
  if (argc != 3 || chdir(argv[1]) != 0) return 2;
  unlink("link");
  unlink("up");
  if (symlink(argv[2], "link") != 0 || symlink("../../..", "up") != 0) {
    fprintf(stderr, "swap_probe: %s\n", strerror(errno));
    return 1;
  }
  const int file = open("rounds", O_CREAT | O_WRONLY | O_TRUNC, 0644);
  for (unsigned long round = 0;; ++round) {
    // Each is exchanged back, so that every name is again what it was.
    if (exchange("swap", "link") != 0 || exchange("swap", "link") != 0) break;
    if (exchange("swap", "up") != 0 || exchange("swap", "up") != 0) break;
    if (rename("swap", "kept") != 0 || rename("kept", "swap") != 0) break;
    rename("inner", "other");  // while the host has mounted there it may be refused
    rename("other", "inner");
    char text[32];
    const int size = snprintf(text, sizeof(text), "%lu\n", round);
    if (pwrite(file, text, (size_t)size, 0) != size) break;
  }
  fprintf(stderr, "swap_probe: %s\n", strerror(errno));
  return 1;
}
