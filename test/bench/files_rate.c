// SPDX-License-Identifier: Apache-2.0
// usage: files_rate DIRECTORY
// How fast files are in a directory; one line "NAME UNIT VALUE" for each of the ways. All that it makes is gone afterwards.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { kMiB = 64, kBlock = 1 << 20, kPage = 4096, kPages = 2000, kFiles = 1000 };

static char block[kBlock];

static double Now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void Demand(int is_good, const char* what) {
  if (is_good) return;
  perror(what);
  exit(1);
}

static void Say(const char* name, const char* unit, double count, double began) {
  printf("%s %s %.6g\n", name, unit, count / (Now() - began));
  fflush(stdout);
}

// The same numbers in each run.
static uint32_t Random(void) {
  static uint32_t state = 12345;
  state = state * 1664525u + 1013904223u;
  return state >> 8;
}

static void DropPages(int fd) {
  fdatasync(fd);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void OneBigFile(void) {
  int fd = open("big", O_CREAT | O_TRUNC | O_RDWR, 0644);
  Demand(fd >= 0, "making a file");
  double began = Now();
  for (int i = 0; i < kMiB; ++i) Demand(write(fd, block, kBlock) == kBlock, "writing");
  fdatasync(fd);
  Say("write", "MB/s", kMiB * (kBlock / 1e6), began);
  DropPages(fd);
  lseek(fd, 0, SEEK_SET);
  began = Now();
  for (int i = 0; i < kMiB; ++i) Demand(read(fd, block, kBlock) == kBlock, "reading");
  Say("read", "MB/s", kMiB * (kBlock / 1e6), began);
  DropPages(fd);
  began = Now();
  for (int i = 0; i < kPages; ++i) {
    const off_t at = (off_t)(Random() % (kMiB * (kBlock / kPage))) * kPage;
    Demand(pread(fd, block, kPage, at) == kPage, "reading a page");
  }
  Say("random-read", "/s", kPages, began);
  began = Now();
  for (int i = 0; i < kPages; ++i) {
    const off_t at = (off_t)(Random() % (kMiB * (kBlock / kPage))) * kPage;
    Demand(pwrite(fd, block, kPage, at) == kPage, "writing a page");
  }
  fdatasync(fd);
  Say("random-write", "/s", kPages, began);
  close(fd);
  unlink("big");
}

static void ManySmallFiles(void) {
  char name[16];
  double began = Now();
  for (int i = 0; i < kFiles; ++i) {
    snprintf(name, sizeof(name), "f%d", i);
    int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
    Demand(fd >= 0 && write(fd, block, 100) == 100, "making a small file");
    close(fd);
  }
  Say("create", "/s", kFiles, began);
  began = Now();
  for (int i = 0; i < kFiles; ++i) {
    snprintf(name, sizeof(name), "f%d", i);
    int fd = open(name, O_RDONLY);
    Demand(fd >= 0 && read(fd, block, kPage) == 100, "reading a small file");
    close(fd);
  }
  Say("open-read", "/s", kFiles, began);
  began = Now();
  for (int i = 0; i < kFiles; ++i) {
    snprintf(name, sizeof(name), "f%d", i);
    Demand(unlink(name) == 0, "removing a small file");
  }
  Say("unlink", "/s", kFiles, began);
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: files_rate DIRECTORY\n");
    return 2;
  }
  Demand(chdir(argv[1]) == 0, argv[1]);
  memset(block, 'x', sizeof(block));
  OneBigFile();
  ManySmallFiles();
  return 0;
}
