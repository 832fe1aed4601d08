// SPDX-License-Identifier: Apache-2.0
// A program that reloads its settings, built statically by test_mirrors.py:
//   watch_probe DIRECTORY COUNT   says "ready", then each thing that inotify tells of the directory, and what
//                                 DIRECTORY/key has once ..data was put in its place; ends after COUNT of those, when
//                                 the directory with the former files is gone
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

static void fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static void show(const char* directory) {
  char path[4096], text[256];
  snprintf(path, sizeof(path), "%s/key", directory);
  FILE* file = fopen(path, "r");
  if (file == NULL || fgets(text, sizeof(text), file) == NULL) fail(path);
  fclose(file);
  printf("key %s\n", text);
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  int left = atoi(argv[2]);
  const int watch = inotify_init();
  if (watch < 0 || inotify_add_watch(watch, argv[1], IN_CREATE | IN_DELETE | IN_MOVED_TO) < 0) fail(argv[1]);
  puts("ready");
  fflush(stdout);
  char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
  while (left > 0) {
    const ssize_t size = read(watch, events, sizeof(events));
    if (size <= 0) fail("reading events");
    for (ssize_t at = 0; at < size;) {
      const struct inotify_event* event = (const struct inotify_event*)&events[at];
      at += (ssize_t)(sizeof(*event) + event->len);
      const char* what = event->mask & IN_CREATE ? "made" : event->mask & IN_DELETE ? "removed" : "placed";
      printf("%s %s\n", what, event->name);
      if (strcmp(what, "placed") == 0 && strcmp(event->name, "..data") == 0) show(argv[1]);
      if (strcmp(what, "removed") == 0 && event->mask & IN_ISDIR) --left;
      fflush(stdout);
    }
  }
  return 0;
}
