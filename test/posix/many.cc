// SPDX-License-Identifier: Apache-2.0
// As many files as a program may have, and word of what happens to them. Not part of a run without topics: it takes
// long.
#include <dirent.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "posix/probe.h"

namespace kata::posix {
namespace {

constexpr int kFilesMax = 10'000;
constexpr int kOpenOfOne = 500;  // what a process may have open is often 1,024

// POSIX_FILES says fewer.
int Files() {
  const char* text = std::getenv("POSIX_FILES");
  return text == nullptr ? kFilesMax : std::atoi(text);
}

std::string Name(int number) { return "many/" + std::to_string(number); }

int Entries() {
  DIR* entries = ::opendir("many");
  int count = 0;
  while (const dirent* entry = ::readdir(entries)) count += entry->d_name[0] != '.';
  ::closedir(entries);
  return count;
}

// Opens its part, says how many, and keeps them until the pipe is closed.
void KeepOpen(int first, int report, int until) {
  int count = 0;
  for (int number = first; number < first + kOpenOfOne; ++number) {
    const int fd = ::open(Name(number).c_str(), O_RDWR | O_CLOEXEC);
    if (fd >= 0 && ::pwrite(fd, &number, sizeof(number), 0) == sizeof(number)) ++count;
  }
  if (::write(report, &count, sizeof(count)) != sizeof(count)) ::_exit(1);
  char byte = 0;
  ::_exit(::read(until, &byte, 1) == 0 ? 0 : 1);
}

int OpenAtOnce(int files) {
  const int processes = files / kOpenOfOne;
  int report[2];
  int until[2];
  if (::pipe2(report, O_CLOEXEC) != 0 || ::pipe2(until, O_CLOEXEC) != 0) return -1;
  for (int i = 0; i < processes; ++i) {
    if (::fork() != 0) continue;
    ::close(until[1]);
    KeepOpen(i * kOpenOfOne, report[1], until[0]);
  }
  ::close(report[1]);
  int open = 0;
  for (int i = 0; i < processes; ++i) {
    int count = 0;
    if (::read(report[0], &count, sizeof(count)) == sizeof(count)) open += count;
  }
  ::close(report[0]);
  ::close(until[1]);
  ::close(until[0]);
  for (int i = 0; i < processes; ++i) ::wait(nullptr);
  return open;
}

// The kinds of all that has come, in their order.
std::string Told(int watch) {
  alignas(inotify_event) char buffer[8192];
  std::string out;
  const ssize_t size = ::read(watch, buffer, sizeof(buffer));
  for (ssize_t at = 0; at < size;) {
    inotify_event event{};
    std::memcpy(&event, buffer + at, sizeof(event));
    at += static_cast<ssize_t>(sizeof(event)) + event.len;
    static constexpr struct {
      uint32_t bit;
      const char* name;
    } kKinds[] = {{IN_CREATE, "create "}, {IN_MODIFY, "modify "}, {IN_ATTRIB, "attrib "},     {IN_MOVED_FROM, "from "},
                  {IN_MOVED_TO, "to "},   {IN_DELETE, "delete "}, {IN_CLOSE_WRITE, "closed "}};
    for (const auto& kind : kKinds) out += (event.mask & kind.bit) != 0 ? kind.name : "";
  }
  return out;
}

std::string Watched() {
  MakeDirectory("watched", 0755, 0, 0);
  const int watch = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  ::inotify_add_watch(watch, "watched", IN_CREATE | IN_MODIFY | IN_ATTRIB | IN_MOVE | IN_DELETE | IN_CLOSE_WRITE);
  const int fd = ::open("watched/file", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  const bool is_written = ::write(fd, "x", 1) == 1;
  ::close(fd);
  const bool is_changed = ::chmod("watched/file", 0600) == 0 && ::rename("watched/file", "watched/other") == 0 &&
                          ::unlink("watched/other") == 0;
  const std::string out = Told(watch);
  ::close(watch);
  return is_written && is_changed ? out : Errno(-1);
}

}  // namespace

void Many() {
  Report("watched", Watched());
  MakeDirectory("many", 0755, 0, 0);
  const int files = Files();
  for (int number = 0; number < files; ++number)
    ::close(::open(Name(number).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  Report("entries", std::to_string(Entries()));
  Report("open", std::to_string(OpenAtOnce(files)));
  int good = 0;
  for (int number = 0; number < files; ++number) {
    int content = -1;
    const int fd = ::open(Name(number).c_str(), O_RDONLY | O_CLOEXEC);
    good += ::read(fd, &content, sizeof(content)) == sizeof(content) && content == number &&
            ::unlink(Name(number).c_str()) == 0;
    ::close(fd);
  }
  Report("contents", std::to_string(good) + " " + Errno(::rmdir("many")));
}

}  // namespace kata::posix
