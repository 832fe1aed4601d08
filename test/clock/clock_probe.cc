// SPDX-License-Identifier: Apache-2.0
// The wall clock as a program sees it, in nanoseconds. One line for each word on standard input:
//   now       what it shows
//   file      how much later than now a file is dated that was made in the working directory just before
//   set NS    adds NS to the machine's clock. Only in a guest of ours: never on a host.
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>

namespace {

constexpr long long kSecond = 1'000'000'000;

long long Nanoseconds(const timespec& time) { return time.tv_sec * kSecond + time.tv_nsec; }

long long Now() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return Nanoseconds(now);
}

// By a word that the machine gives to its kernel.
bool IsGuest() {
  std::ifstream file("/proc/cmdline");
  std::string words;
  std::getline(file, words);
  return words.find(" dummy.numdummies=0") != std::string::npos;
}

long long FileAhead() {
  constexpr char kName[] = "clock-probe-file";
  const int fd = ::open(kName, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  const long long now = Now();
  struct stat status {};
  if (fd < 0 || ::fstat(fd, &status) != 0) return kSecond * kSecond;
  ::close(fd);
  ::unlink(kName);
  return Nanoseconds(status.st_mtim) - now;
}

bool Add(long long ns) {
  if (!IsGuest()) return false;
  const long long to = Now() + ns;
  const timespec time{.tv_sec = to / kSecond, .tv_nsec = to % kSecond};
  return ::clock_settime(CLOCK_REALTIME, &time) == 0;
}

}  // namespace

int main() {
  std::string word;
  while (std::cin >> word) {
    long long ns = 0;
    if (word == "now") {
      std::cout << Now() << std::endl;
    } else if (word == "file") {
      std::cout << FileAhead() << std::endl;
    } else if (word == "set" && std::cin >> ns) {
      std::cout << (Add(ns) ? "set" : "refused") << std::endl;
    } else {
      return 64;
    }
  }
  return 0;
}
