// SPDX-License-Identifier: Apache-2.0
// usage: files_rate DIRECTORY MIB PAGES FILES [steps]
// How fast files are in a directory: one of MIB, PAGES of its pages in a random order, and FILES small ones. A line
// "begins DIRECTORY", then one "NAME UNIT VALUE" for each of the ways. All that it makes is gone afterwards. steps: says "next" before each of the ways and
// after the last, and goes on when a byte of input has come, so that somebody can count what happens in between.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { kBlock = 1 << 20, kPage = 4096, kNumbers = 4 };

static char block[kBlock];
static int mib, pages, files, has_steps;

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

static void Next(void) {
  if (!has_steps) return;
  printf("next\n");
  fflush(stdout);
  Demand(getchar() != EOF, "waiting for a byte");
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
  Next();
  int fd = open("big", O_CREAT | O_TRUNC | O_RDWR, 0644);
  Demand(fd >= 0, "making a file");
  double began = Now();
  for (int i = 0; i < mib; ++i) Demand(write(fd, block, kBlock) == kBlock, "writing");
  fdatasync(fd);
  Say("write", "MB/s", mib * (kBlock / 1e6), began);
  DropPages(fd);
  lseek(fd, 0, SEEK_SET);
  Next();
  began = Now();
  for (int i = 0; i < mib; ++i) Demand(read(fd, block, kBlock) == kBlock, "reading");
  Say("read", "MB/s", mib * (kBlock / 1e6), began);
  DropPages(fd);
  Next();
  began = Now();
  for (int i = 0; i < pages; ++i) {
    const off_t at = (off_t)(Random() % (mib * (kBlock / kPage))) * kPage;
    Demand(pread(fd, block, kPage, at) == kPage, "reading a page");
  }
  Say("random-read", "/s", pages, began);
  Next();
  began = Now();
  for (int i = 0; i < pages; ++i) {
    const off_t at = (off_t)(Random() % (mib * (kBlock / kPage))) * kPage;
    Demand(pwrite(fd, block, kPage, at) == kPage, "writing a page");
  }
  fdatasync(fd);
  Say("random-write", "/s", pages, began);
  close(fd);
  unlink("big");
}

static void ManySmallFiles(void) {
  char name[16];
  Next();
  double began = Now();
  for (int i = 0; i < files; ++i) {
    snprintf(name, sizeof(name), "f%d", i);
    int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
    Demand(fd >= 0 && write(fd, block, 100) == 100, "making a small file");
    close(fd);
  }
  Say("create", "/s", files, began);
  Next();
  began = Now();
  for (int i = 0; i < files; ++i) {
    snprintf(name, sizeof(name), "f%d", i);
    int fd = open(name, O_RDONLY);
    Demand(fd >= 0 && read(fd, block, kPage) == 100, "reading a small file");
    close(fd);
  }
  Say("open-read", "/s", files, began);
  Next();
  began = Now();
  for (int i = 0; i < files; ++i) {
    snprintf(name, sizeof(name), "f%d", i);
    Demand(unlink(name) == 0, "removing a small file");
  }
  Say("unlink", "/s", files, began);
  Next();
}

int main(int argc, char** argv) {
  if (argc <= kNumbers) {
    fprintf(stderr, "usage: files_rate DIRECTORY MIB PAGES FILES [steps]\n");
    return 2;
  }
  mib = atoi(argv[2]);
  pages = atoi(argv[3]);
  files = atoi(argv[kNumbers]);
  has_steps = argc > kNumbers + 1;
  Demand(chdir(argv[1]) == 0, argv[1]);
  memset(block, 'x', sizeof(block));
  printf("begins %s\n", argv[1]);
  fflush(stdout);
  OneBigFile();
  ManySmallFiles();
  return 0;
}
