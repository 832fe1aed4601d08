// SPDX-License-Identifier: Apache-2.0
// Who sets times, and what changes them.
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "posix/probe.h"

namespace kata::posix {
namespace {

constexpr timespec kThen{1'000'000'000, 123'456'789};
constexpr timespec kLater{1'500'000'000, 987'654'321};

struct stat Status(const char* path) {
  struct stat info {};
  ::lstat(path, &info);
  return info;
}
std::string Text(const timespec& time) { return std::to_string(time.tv_sec) + "." + std::to_string(time.tv_nsec); }

// Which of the three times `work` moves away from a past that is set before.
std::string Moves(const char* path, const std::function<long()>& work) {
  const timespec times[] = {kThen, kThen};
  ::utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
  const struct stat before = Status(path);
  ::usleep(20'000);  // a tick of the kernel's clock
  const std::string result = Errno(work());
  const struct stat after = Status(path);
  auto differ = [](const timespec& a, const timespec& b) { return a.tv_sec != b.tv_sec || a.tv_nsec != b.tv_nsec; };
  return result + " " + (differ(before.st_atim, after.st_atim) ? "a" : "-") +
         (differ(before.st_mtim, after.st_mtim) ? "m" : "-") + (differ(before.st_ctim, after.st_ctim) ? "c" : "-");
}

long ByFd(const char* path, int flags, const std::function<long(int)>& work) {
  const int fd = ::open(path, flags | O_CLOEXEC, 0644);
  if (fd < 0) return fd;
  const long result = work(fd);
  ::close(fd);
  return result;
}

}  // namespace

void Times() {
  Make("file", 0666, 1000, 1000, "content");
  const timespec given[] = {kThen, kLater};
  Report("set", Errno(::utimensat(AT_FDCWD, "file", given, 0)) + " " + Text(Status("file").st_atim) + " " +
                    Text(Status("file").st_mtim));
  const timespec omit[] = {{0, UTIME_OMIT}, kThen};
  Report("omit", Errno(::utimensat(AT_FDCWD, "file", omit, 0)) + " " + Text(Status("file").st_atim) + " " +
                     Text(Status("file").st_mtim));
  const timespec old[] = {{-5, 0}, {-1, 500}};
  Report("before-1970", Errno(::utimensat(AT_FDCWD, "file", old, 0)) + " " + Text(Status("file").st_atim) + " " +
                            Text(Status("file").st_mtim));
  const timespec far[] = {{5'000'000'000, 0}, {6'000'000'000, 1}};
  Report("after-2038", Errno(::utimensat(AT_FDCWD, "file", far, 0)) + " " + Text(Status("file").st_atim) + " " +
                           Text(Status("file").st_mtim));
  const timespec bad[] = {{0, 2'000'000'000}, kThen};
  Report("bad", Errno(::utimensat(AT_FDCWD, "file", bad, 0)));
  const Who writer{1005, 1000, {}, false};
  Make("group", 0664, 1000, 1000);
  struct Actor {
    const char* name;
    const Who& who;
  };
  for (const Actor& actor : {Actor{"root", kRoot}, Actor{"bare-root", kBareRoot}, Actor{"owner", kOwner},
                             Actor{"writer", writer}, Actor{"other", kOther}}) {
    Report(std::string("by.") + actor.name, As(actor.who, [&] {
             const timespec now[] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
             const timespec mixed[] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
             return "given=" + Errno(::utimensat(AT_FDCWD, "group", given, 0)) +
                    " null=" + Errno(::utimensat(AT_FDCWD, "group", nullptr, 0)) +
                    " now=" + Errno(::utimensat(AT_FDCWD, "group", now, 0)) +
                    " mixed=" + Errno(::utimensat(AT_FDCWD, "group", mixed, 0));
           }));
  }
  Report("move.write",
         Moves("file", [] { return ByFd("file", O_WRONLY, [](int fd) { return ::write(fd, "x", 1); }); }));
  Report("move.write-nothing",
         Moves("file", [] { return ByFd("file", O_WRONLY, [](int fd) { return ::write(fd, "x", 0); }); }));
  Report("move.truncate-same", Moves("file", [] { return ::truncate("file", Status("file").st_size); }));
  Report("move.truncate", Moves("file", [] { return ::truncate("file", 3); }));
  Report("move.open-trunc", Moves("file", [] { return ByFd("file", O_WRONLY | O_TRUNC, [](int) { return 0L; }); }));
  Report("move.chmod", Moves("file", [] { return ::chmod("file", 0644); }));
  Report("move.chown", Moves("file", [] { return ::chown("file", 1, 1); }));
  Report("move.link", Moves("file", [] { return ::link("file", "second"); }));
  Report("move.rename", Moves("file", [] { return ::rename("second", "third"); }));
  Report("move.unlink", Moves("file", [] { return ::unlink("third"); }));
  MakeDirectory("directory", 0777, 0, 0);
  Report("move.create-in",
         Moves("directory", [] { return ByFd("directory/a", O_CREAT | O_WRONLY, [](int) { return 0L; }); }));
  Report("move.open-existing-in",
         Moves("directory", [] { return ByFd("directory/a", O_CREAT | O_WRONLY, [](int) { return 0L; }); }));
  Report("move.rename-in", Moves("directory", [] { return ::rename("directory/a", "directory/b"); }));
  Report("move.unlink-in", Moves("directory", [] { return ::unlink("directory/b"); }));
  Report("move.mkdir-in", Moves("directory", [] { return ::mkdir("directory/d", 0755); }));
  if (::symlink("file", "link") != 0) Report("link", Errno(-1));
  Report("set.link",
         Errno(::utimensat(AT_FDCWD, "link", given, AT_SYMLINK_NOFOLLOW)) + " " + Text(Status("link").st_mtim));
  Report("set.fd", [&] {
    return Errno(ByFd("file", O_RDONLY, [&](int fd) { return ::futimens(fd, given); })) + " " +
           Text(Status("file").st_mtim);
  }());
  // A new file is dated by the clock that programs see, give or take ten seconds.
  ::close(::open("new", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const long long apart = static_cast<long long>(now.tv_sec) - Status("new").st_mtim.tv_sec;
  Report("clock", apart > -10 && apart < 10 ? "ok" : "apart");
}

}  // namespace kata::posix
