// SPDX-License-Identifier: Apache-2.0
// The guest's end of test_sockets.py, which builds it statically:
//   socket_probe echo PATH COUNT BYTES   COUNT connections at once; BYTES (a multiple of 8) go through each, its end
//                                        follows, and all of it must come back before the other end's
//   socket_probe listen PATH             connects, says "connected", and how the other end has ended it
// The word at place k of connection i is i << 40 | k, of the machine's byte order.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kBlockWords = 8192 };

static void fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static int dial(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
  if (fd < 0 || connect(fd, (struct sockaddr*)&address, sizeof(address)) != 0) fail("connecting");
  return fd;
}

static void send_words(int fd, uint64_t stream, uint64_t count) {
  uint64_t block[kBlockWords];
  for (uint64_t at = 0; at < count;) {
    const uint64_t words = count - at < kBlockWords ? count - at : kBlockWords;
    for (uint64_t i = 0; i < words; ++i) block[i] = stream << 40 | (at + i);
    for (size_t sent = 0; sent < words * 8;) {
      const ssize_t n = send(fd, (char*)block + sent, words * 8 - sent, MSG_NOSIGNAL);
      if (n <= 0) fail("sending");
      sent += (size_t)n;
    }
    at += words;
  }
  if (shutdown(fd, SHUT_WR) != 0) fail("ending");
}

static void take_words(int fd, uint64_t stream, uint64_t count) {
  uint64_t block[kBlockWords];
  uint64_t at = 0;
  size_t have = 0;
  for (;;) {
    const ssize_t n = recv(fd, (char*)block + have, sizeof(block) - have, 0);
    if (n < 0) fail("receiving");
    if (n == 0) break;
    have += (size_t)n;
    for (size_t i = 0; i < have / 8; ++i, ++at) {
      if (block[i] != (stream << 40 | at)) {
        fprintf(stderr, "stream %llu has another word at %llu\n", (unsigned long long)stream, (unsigned long long)at);
        exit(1);
      }
    }
    memmove(block, (char*)block + have / 8 * 8, have % 8);
    have %= 8;
  }
  if (at == count && have == 0) return;
  fprintf(stderr, "of stream %llu came %llu words of %llu\n", (unsigned long long)stream, (unsigned long long)at,
          (unsigned long long)count);
  exit(1);
}

static int echo(const char* path, uint64_t streams, uint64_t words) {
  int connected[2], go[2];
  if (pipe(connected) != 0 || pipe(go) != 0) fail("pipe");
  for (uint64_t i = 0; i < streams; ++i) {
    const pid_t child = fork();
    if (child < 0) fail("fork");
    if (child > 0) continue;
    char byte = 0;
    close(go[1]);
    const int fd = dial(path);
    if (write(connected[1], "c", 1) != 1) fail("telling");
    if (read(go[0], &byte, 1) != 0) fail("waiting");
    const pid_t sender = fork();
    if (sender < 0) fail("fork");
    if (sender == 0) {
      send_words(fd, i, words);
      exit(0);
    }
    take_words(fd, i, words);
    int status = 0;
    waitpid(sender, &status, 0);
    exit(status != 0);
  }
  close(connected[1]);
  for (uint64_t i = 0; i < streams; ++i) {
    char byte;
    if (read(connected[0], &byte, 1) != 1) fail("a connection");
  }
  close(go[1]);
  int status = 0;
  int result = 0;
  while (wait(&status) > 0) result |= status;
  if (result == 0) puts("ok");
  return result != 0;
}

static int listen_to(const char* path) {
  const int fd = dial(path);
  char buffer[256];
  ssize_t n;
  puts("connected");
  fflush(stdout);
  while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0) {
    fwrite(buffer, 1, (size_t)n, stdout);
    fflush(stdout);
  }
  puts(n == 0 ? "end" : strerror(errno));
  return 0;
}

int main(int argc, char** argv) {
  if (argc == 5 && strcmp(argv[1], "echo") == 0)
    return echo(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10) / 8);
  if (argc == 3 && strcmp(argv[1], "listen") == 0) return listen_to(argv[2]);
  fprintf(stderr, "usage: see the source\n");
  return 2;
}
