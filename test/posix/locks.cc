// SPDX-License-Identifier: Apache-2.0
// flock, fcntl and OFD locks, leases, between processes of one container.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "posix/probe.h"

namespace kata::posix {
namespace {

int Open() { return ::open("file", O_RDWR | O_CLOEXEC); }

long Range(int fd, int command, short type, off_t start = 0, off_t length = 0) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  return ::fcntl(fd, command, &lock);
}

// A process that holds a lock until it is let go; `take` returns the result of locking.
class Holder {
 public:
  explicit Holder(const std::function<long(int)>& take) {
    int ready[2], release[2];
    if (::pipe2(ready, O_CLOEXEC) != 0 || ::pipe2(release, O_CLOEXEC) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(release[1]);
      const char result = take(Open()) == 0 ? 'y' : 'n';
      char byte = 0;
      if (::write(ready[1], &result, 1) != 1) ::_exit(1);
      // A byte lets it go: the pipe's end would not, other children hold it too.
      ::_exit(::read(release[0], &byte, 1) < 0);
    }
    ::close(ready[1]);
    ::close(release[0]);
    char result = 0;
    is_held_ = ::read(ready[0], &result, 1) == 1 && result == 'y';
    ::close(ready[0]);
    release_ = release[1];
  }
  ~Holder() { Release(); }
  void Release() {
    if (release_ < 0) return;
    const char byte = 'r';
    if (::write(release_, &byte, 1) != 1) ::kill(pid_, SIGKILL);
    ::close(release_);
    release_ = -1;
    ::waitpid(pid_, nullptr, 0);
  }
  bool is_held() const { return is_held_; }

 private:
  pid_t pid_ = -1;
  int release_ = -1;
  bool is_held_ = false;
};

std::string Held(const Holder& holder) { return holder.is_held() ? "held" : "not held"; }

// A waiter gets the lock when its holder goes, and not before.
std::string Waits(const std::function<long(int)>& take, Holder& holder) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return "no pipe";
  const pid_t waiter = ::fork();
  if (waiter == 0) {
    const char result = take(Open()) == 0 ? 'y' : 'n';
    ::_exit(::write(ends[1], &result, 1) == 1 ? 0 : 1);
  }
  ::close(ends[1]);
  pollfd entry{ends[0], POLLIN, 0};
  std::string out = ::poll(&entry, 1, 300) == 0 ? "waits" : "does not wait";
  holder.Release();
  out += ::poll(&entry, 1, 30'000) == 1 ? " then has it" : " for ever";
  char result = '?';
  if (::read(ends[0], &result, 1) != 1) result = '?';
  ::kill(waiter, SIGKILL);
  ::waitpid(waiter, nullptr, 0);
  ::close(ends[0]);
  return out + " " + std::string(1, result);
}

void Flocks() {
  const int fd = Open();
  {
    Holder holder([](int its) { return ::flock(its, LOCK_EX); });
    Report("flock.exclusive",
           Held(holder) + " " + Errno(::flock(fd, LOCK_EX | LOCK_NB)) + " " + Errno(::flock(fd, LOCK_SH | LOCK_NB)));
    Report("flock.wait", Waits([](int its) { return ::flock(its, LOCK_EX); }, holder));
  }
  {
    Holder holder([](int its) { return ::flock(its, LOCK_SH); });
    Report("flock.shared",
           Held(holder) + " " + Errno(::flock(fd, LOCK_SH | LOCK_NB)) + " " + Errno(::flock(fd, LOCK_EX | LOCK_NB)));
    if (::flock(fd, LOCK_UN) != 0) Report("flock.unlock", Errno(-1));
  }
  const int second = Open();
  Report("flock.same-process", Errno(::flock(fd, LOCK_EX | LOCK_NB)) + " " + Errno(::flock(second, LOCK_EX | LOCK_NB)));
  const int copy = ::dup(fd);
  Report("flock.duplicate", Errno(::flock(copy, LOCK_EX | LOCK_NB)) + " " + Errno(::close(copy)) + " " +
                                Errno(::flock(second, LOCK_EX | LOCK_NB)));
  Report("flock.and-fcntl", Errno(Range(second, F_SETLK, F_WRLCK)));
  ::close(second);
  ::close(fd);
}

void Ranges() {
  const int fd = Open();
  {
    Holder holder([](int its) { return Range(its, F_SETLK, F_WRLCK, 10, 10); });
    Report("fcntl.exclusive", Held(holder) + " " + Errno(Range(fd, F_SETLK, F_WRLCK, 15, 1)) + " " +
                                  Errno(Range(fd, F_SETLK, F_RDLCK, 0, 11)) + " " +
                                  Errno(Range(fd, F_SETLK, F_WRLCK, 20, 5)) + " " +
                                  Errno(Range(fd, F_SETLK, F_WRLCK, 0, 10)));
    struct flock found {};
    found.l_type = F_WRLCK;
    found.l_whence = SEEK_SET;
    const std::string asked = Errno(::fcntl(fd, F_GETLK, &found));
    Report("fcntl.get", asked + " type=" + std::to_string(found.l_type) + " start=" + std::to_string(found.l_start) +
                            " length=" + std::to_string(found.l_len) + (found.l_pid > 0 ? " has pid" : " no pid"));
    Report("fcntl.wait", Waits([](int its) { return Range(its, F_SETLKW, F_WRLCK, 10, 10); }, holder));
  }
  Range(fd, F_SETLK, F_UNLCK);
  {
    Holder holder([](int its) { return Range(its, F_SETLK, F_RDLCK); });
    Report("fcntl.shared",
           Held(holder) + " " + Errno(Range(fd, F_SETLK, F_RDLCK)) + " " + Errno(Range(fd, F_SETLK, F_WRLCK)));
  }
  Range(fd, F_SETLK, F_UNLCK);
  // Two that wait for each other: one is told.
  Report("fcntl.deadlock", As(kRoot, [] {
           const int its = Open();
           if (Range(its, F_SETLK, F_WRLCK, 100, 1) != 0) return Errno(-1);
           const pid_t other = ::fork();
           if (other == 0) {
             const int mine = Open();
             if (Range(mine, F_SETLK, F_WRLCK, 200, 1) != 0) ::_exit(2);
             ::_exit(Range(mine, F_SETLKW, F_WRLCK, 100, 1) == 0 ? 0 : 3);
           }
           // Until the other waits for us the lock can be had or is held; asking again is harmless.
           std::string out;
           for (int i = 0; i < 2000 && out != "EDEADLK"; ++i) {
             struct flock found {};
             found.l_type = F_WRLCK;
             found.l_start = 200;
             found.l_len = 1;
             ::fcntl(its, F_GETLK, &found);
             if (found.l_type == F_WRLCK) {
               ::usleep(100'000);
               out = Errno(Range(its, F_SETLKW, F_WRLCK, 200, 1));
               break;
             }
             ::usleep(1000);
           }
           Range(its, F_SETLK, F_UNLCK);
           int status = 0;
           ::waitpid(other, &status, 0);
           return out + " " + std::to_string(WEXITSTATUS(status));
         }));
  // Any close of the file lets go of a process's range locks.
  if (Range(fd, F_SETLK, F_WRLCK) != 0) Report("fcntl.lock", Errno(-1));
  ::close(Open());
  Report("fcntl.any-close", As(kRoot, [] { return Errno(Range(Open(), F_SETLK, F_WRLCK)); }));
  Report("fcntl.read-only", [] {
    const int its = ::open("file", O_RDONLY | O_CLOEXEC);
    const std::string out = Errno(Range(its, F_SETLK, F_WRLCK)) + " " + Errno(Range(its, F_SETLK, F_RDLCK));
    ::close(its);
    return out;
  }());
  ::close(fd);
}

void OpenFileLocks() {
  const int fd = Open();
  const int second = Open();
  Report("ofd", Errno(Range(fd, F_OFD_SETLK, F_WRLCK, 0, 10)) + " " + Errno(Range(second, F_OFD_SETLK, F_WRLCK, 5, 1)) +
                    " " + Errno(Range(second, F_OFD_SETLK, F_WRLCK, 10, 1)));
  ::close(second);
  ::close(fd);
  const int lease = ::open("file", O_RDONLY | O_CLOEXEC);
  Report("lease", Errno(::fcntl(lease, F_SETLEASE, F_RDLCK)) + " " + std::to_string(::fcntl(lease, F_GETLEASE)));
  ::close(lease);
}

}  // namespace

std::string TryLocks(const char* path) {
  const int fd = ::open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
  if (fd < 0) return Errno(fd);
  return "flock=" + Errno(::flock(fd, LOCK_EX | LOCK_NB)) + " fcntl=" + Errno(Range(fd, F_SETLK, F_WRLCK));
}

void Locks() {
  Make("file", 0666, 0, 0, "content");
  Flocks();
  Ranges();
  OpenFileLocks();
}

}  // namespace kata::posix
