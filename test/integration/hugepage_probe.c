// SPDX-License-Identifier: Apache-2.0
// Maps huge pages, built statically by test_hugepages.py:
//   hugepage_probe DIRECTORY MIB   of a file in DIRECTORY; without a name ("") of no file. Says "mapped" when all are
//                                  written to, else why not
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const size_t size = (size_t)atoi(argv[2]) << 20;
  int fd = -1;
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB;
  if (argv[1][0] != '\0') {
    char path[4096];
    snprintf(path, sizeof(path), "%s/probe", argv[1]);
    fd = open(path, O_RDWR | O_CREAT, 0600);
    flags = MAP_SHARED;
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0) {
      printf("file: %s\n", strerror(errno));
      return 1;
    }
    unlink(path);
  }
  char* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (memory == MAP_FAILED) {
    printf("mmap: %s\n", strerror(errno));
    return 1;
  }
  for (size_t at = 0; at < size; at += 4096) memory[at] = 1;
  puts("mapped");
  return 0;
}
