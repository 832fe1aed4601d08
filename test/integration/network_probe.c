// SPDX-License-Identifier: Apache-2.0
// The guest's end of test_network_load.py, which builds it statically:
//   network_probe streams ADDRESS PORT COUNT BYTES     COUNT connections at once, BYTES (a multiple of 8) both ways in each
//   network_probe connections ADDRESS PORT COUNT WORKERS   COUNT connections one after the other in each of WORKERS
//   network_probe datagrams ADDRESS PORT COUNT SIZE    COUNT datagrams of 8 to SIZE bytes, each echoed; prints how many were sent again
// Every byte that comes is compared: the word at place k of stream i is i << 40 | k, of the machine's byte order.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kBlockWords = 8192, kTriesMax = 20, kEchoMilliseconds = 3000 };

static struct sockaddr_storage server;
static socklen_t server_size;

static void fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static void wrong(const char* what, uint64_t place) {
  fprintf(stderr, "%s at %llu\n", what, (unsigned long long)place);
  exit(1);
}

static void find_server(const char* address, const char* port) {
  struct sockaddr_in* v4 = (struct sockaddr_in*)&server;
  struct sockaddr_in6* v6 = (struct sockaddr_in6*)&server;
  const uint16_t number = htons((uint16_t)atoi(port));
  if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = number;
    server_size = sizeof *v4;
  } else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = number;
    server_size = sizeof *v6;
  } else {
    fail(address);
  }
}

static int reach(int type) {
  const int fd = socket(server.ss_family, type, 0);
  if (fd < 0 || connect(fd, (struct sockaddr*)&server, server_size) != 0) fail("connect");
  return fd;
}

static void write_all(int fd, const void* data, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t now = write(fd, (const char*)data + done, size - done);
    if (now < 0) fail("write");
    done += (size_t)now;
  }
}

static size_t read_all(int fd, void* data, size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t now = read(fd, (char*)data + done, size - done);
    if (now < 0) fail("read");
    if (now == 0) break;
    done += (size_t)now;
  }
  return done;
}

static void send_stream(int fd, uint64_t stream, uint64_t words) {
  static uint64_t block[kBlockWords];
  for (uint64_t at = 0; at < words;) {
    uint64_t count = words - at < kBlockWords ? words - at : kBlockWords;
    for (uint64_t i = 0; i < count; ++i) block[i] = stream << 40 | (at + i);
    write_all(fd, block, count * sizeof *block);
    at += count;
  }
  if (shutdown(fd, SHUT_WR) != 0) fail("shutdown");
}

static void check_stream(int fd, uint64_t stream, uint64_t words) {
  static uint64_t block[kBlockWords];
  for (uint64_t at = 0; at < words;) {
    uint64_t count = words - at < kBlockWords ? words - at : kBlockWords;
    if (read_all(fd, block, count * sizeof *block) != count * sizeof *block) wrong("a stream ends", at);
    for (uint64_t i = 0; i < count; ++i) {
      if (block[i] != (stream << 40 | (at + i))) wrong("other data than was sent", at + i);
    }
    at += count;
  }
  char more;
  if (read_all(fd, &more, 1) != 0) wrong("more data than was sent", words);
}

// Says its number first, so that the other side knows what to send.
static void stream(uint64_t number, uint64_t bytes) {
  const int fd = reach(SOCK_STREAM);
  write_all(fd, &number, sizeof number);
  const pid_t sender = fork();
  if (sender == 0) {
    send_stream(fd, number, bytes / 8);
    exit(0);
  }
  check_stream(fd, number, bytes / 8);
  int status = 1;
  if (waitpid(sender, &status, 0) != sender || status != 0) exit(1);
}

static void connections(uint64_t worker, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    const int fd = reach(SOCK_STREAM);
    uint64_t words[2] = {worker << 40 | i, 0};
    write_all(fd, words, sizeof *words);
    if (read_all(fd, &words[1], sizeof *words + 1) != sizeof *words || words[0] != words[1]) wrong("a wrong answer", i);
    close(fd);
  }
}

static void datagrams(uint64_t count, uint64_t size) {
  static uint64_t sent[kBlockWords], come[kBlockWords];
  const int fd = reach(SOCK_DGRAM);
  unsigned again = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const size_t words = 1 + (size_t)(i * 7919 % (size / 8));
    for (size_t k = 0; k < words; ++k) sent[k] = i << 40 | k;
    for (int tries = 0;; ++tries, ++again) {
      if (tries == kTriesMax) wrong("no echo of a datagram", i);
      if (send(fd, sent, words * 8, 0) != (ssize_t)(words * 8)) fail("send");
      struct pollfd ready = {.fd = fd, .events = POLLIN};
      ssize_t got = -1;
      // An echo may be of a datagram that was given up.
      while (poll(&ready, 1, kEchoMilliseconds) == 1 && (got = recv(fd, come, sizeof come, 0)) >= 8 && come[0] >> 40 != i) got = -1;
      if (got < 0) continue;
      if (got != (ssize_t)(words * 8) || memcmp(sent, come, (size_t)got) != 0) wrong("another datagram than was sent", i);
      break;
    }
  }
  printf("%u\n", again);
}

int main(int count, char** words) {
  if (count != 6) return 2;
  find_server(words[2], words[3]);
  const uint64_t first = strtoull(words[4], NULL, 10), second = strtoull(words[5], NULL, 10);
  if (strcmp(words[1], "datagrams") == 0) {
    datagrams(first, second);
    return 0;
  }
  const int are_streams = strcmp(words[1], "streams") == 0;
  const uint64_t processes = are_streams ? first : second;
  for (uint64_t i = 0; i < processes; ++i) {
    if (fork() != 0) continue;
    if (are_streams) {
      stream(i, second);
    } else {
      connections(i, first / processes);
    }
    exit(0);
  }
  int failed = 0;
  for (int status; wait(&status) > 0;) failed |= status != 0;
  return failed;
}
