// SPDX-License-Identifier: Apache-2.0
// How fast a stream of bytes is. Both ends of bench_network.py, and the guest's of raw_port.py, which build it statically:
//   stream_rate serve ADDRESS PORT                  answers until it is killed
//   stream_rate send|receive ADDRESS PORT BYTES     prints bytes per second
//   stream_rate turn ADDRESS PORT COUNT             prints the median of so many round trips of a byte, in microseconds
//   stream_rate port DEVICE                         answers at a virtio-serial port until the host closes it
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { kBlock = 256 << 10, kTurnsMax = 100000, kPortTries = 30000, kPortPauseUs = 1000 };

struct Request {
  char kind;  // of the client's word: s, r, t
  uint64_t size;
};

static char block[kBlock];

static void need(int is_good, const char* what) {
  if (is_good) return;
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void put(int fd, uint64_t size) {
  while (size > 0) {
    const ssize_t done = write(fd, block, size < kBlock ? size : kBlock);
    need(done > 0, "write");
    size -= (uint64_t)done;
  }
}

static void take(int fd, uint64_t size) {
  while (size > 0) {
    const ssize_t done = read(fd, block, size < kBlock ? size : kBlock);
    need(done > 0, "read");
    size -= (uint64_t)done;
  }
}

static void answer(int fd) {
  struct Request request;
  take(fd, sizeof request);
  memcpy(&request, block, sizeof request);
  if (request.kind == 's') {
    take(fd, request.size);
    put(fd, 1);  // so that the client's time ends when all has come
  } else if (request.kind == 'r') {
    put(fd, request.size);
  } else {
    for (uint64_t i = 0; i < request.size; ++i) {
      take(fd, 1);
      put(fd, 1);
    }
  }
}

static int by_size(const void* left, const void* right) {
  const double a = *(const double*)left, b = *(const double*)right;
  return (a > b) - (a < b);
}

static void ask(int fd, char kind, uint64_t size) {
  const struct Request request = {.kind = kind, .size = size};
  memcpy(block, &request, sizeof request);
  const double began = now();
  put(fd, sizeof request);
  if (kind == 't') {
    static double turns[kTurnsMax];
    need(size <= kTurnsMax, "more round trips than there is room for");
    for (uint64_t i = 0; i < size; ++i) {
      const double start = now();
      put(fd, 1);
      take(fd, 1);
      turns[i] = now() - start;
    }
    qsort(turns, size, sizeof *turns, by_size);
    printf("%.1f\n", turns[size / 2] * 1e6);
    return;
  }
  if (kind == 's') put(fd, size);
  take(fd, kind == 's' ? 1 : size);
  printf("%.0f\n", (double)size / (now() - began));
}

// The port appears, and is connected, some time after the kernel has started init.
static int wait_for_port(const char* device) {
  int fd = -1;
  for (int i = 0; i < kPortTries; ++i) {
    if (fd < 0) fd = open(device, O_RDWR);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    if (fd >= 0 && poll(&ready, 1, 0) == 1 && (ready.revents & POLLIN)) return fd;
    usleep(kPortPauseUs);
  }
  need(0, device);
  return fd;
}

int main(int count, char** words) {
  if (count == 3 && strcmp(words[1], "port") == 0) {
    const int fd = wait_for_port(words[2]);
    for (;;) answer(fd);
  }
  if (count < 4) return 2;
  struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[3]))};
  need(inet_pton(AF_INET, words[2], &place.sin_addr) == 1, words[2]);
  const int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (strcmp(words[1], "serve") != 0) {
    need(connect(fd, (struct sockaddr*)&place, sizeof place) == 0, "connect");
    ask(fd, words[1][0], count > 4 ? strtoull(words[4], NULL, 10) : 1);
    return 0;
  }
  signal(SIGCHLD, SIG_IGN);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  need(bind(fd, (struct sockaddr*)&place, sizeof place) == 0 && listen(fd, 16) == 0, "listen");
  for (;;) {
    const int client = accept(fd, NULL, NULL);
    need(client >= 0, "accept");
    if (fork() == 0) {
      setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      answer(client);
      exit(0);
    }
    close(client);
  }
}
