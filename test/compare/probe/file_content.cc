// SPDX-License-Identifier: Apache-2.0
// Operations on what is in a file and on its inode.
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "test/compare/probe/probe.h"

namespace kata::probe {
namespace {

long SendFile(int to, int from, off_t* offset, size_t size) { return syscall(SYS_sendfile, to, from, offset, size); }

void TemporaryFile() {
  const int fd = open(FileDirectory().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  Say("O_TMPFILE", Outcome(fd));
  Say("linked", Outcome(linkat(AT_FDCWD, ("/proc/self/fd/" + std::to_string(fd)).c_str(), AT_FDCWD,
                               Path("tmpfile-linked").c_str(), AT_SYMLINK_FOLLOW)));
}

void Unlinked() {
  const int fd = Open("unlinked");
  Say("write", Outcome(write(fd, "abc", 3), true));
  Say("unlink", Outcome(unlink(Path("unlinked").c_str())));
  struct stat status {};
  Say("fstat", Outcome(fstat(fd, &status)));
  Say("links", std::to_string(status.st_nlink));
  Say("ftruncate", Outcome(ftruncate(fd, 1)));
  Say("fchmod", Outcome(fchmod(fd, 0600)));
  char data[8] = {};
  Say("pread", Outcome(pread(fd, data, sizeof data, 0), true));
  const int again = open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDONLY | O_CLOEXEC);
  Say("opened again", Outcome(again));
}

void Allocate() {
  const int fd = Open("allocate");
  struct stat status {};
  Say("fallocate", Outcome(fallocate(fd, 0, 0, 65536)));
  Say("keep size", Outcome(fallocate(fd, FALLOC_FL_KEEP_SIZE, 65536, 65536)));
  Say("punch", Outcome(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096)));
  fstat(fd, &status);
  Say("size", std::to_string(status.st_size));
}

void Holes() {
  const int fd = Open("holes");
  ftruncate(fd, 1 << 20);
  pwrite(fd, "x", 1, 1 << 19);
  fsync(fd);
  Say("data", Outcome(lseek(fd, 0, SEEK_DATA), true));
  Say("hole after it", Outcome(lseek(fd, 1 << 19, SEEK_HOLE), true));
  struct stat status {};
  fstat(fd, &status);
  Say("sparse", status.st_blocks * 512 < status.st_size ? "yes" : "no");
}

void CopyRange() {
  const int from = Open("copy-from");
  const int to = Open("copy-to");
  write(from, "hello", 5);
  loff_t offset = 0;
  Say("copy_file_range", Outcome(copy_file_range(from, &offset, to, nullptr, 5, 0), true));
  Say("beyond the end", Outcome(copy_file_range(from, nullptr, to, nullptr, 5, 0), true));
}

void Attributes() {
  const std::string path = Path("attributes");
  close(Open("attributes"));
  Say("user", Outcome(setxattr(path.c_str(), "user.x", "1", 1, 0)));
  Say("user again", Outcome(setxattr(path.c_str(), "user.x", "1", 1, XATTR_CREATE)));
  Say("user replaced", Outcome(setxattr(path.c_str(), "user.y", "1", 1, XATTR_REPLACE)));
  char names[256];
  Say("list", Outcome(listxattr(path.c_str(), names, sizeof names), true));
  char value[4];
  Say("get", Outcome(getxattr(path.c_str(), "user.x", value, sizeof value), true));
  Say("missing", Outcome(getxattr(path.c_str(), "user.none", value, sizeof value)));
  Say("remove", Outcome(removexattr(path.c_str(), "user.x")));
  Say("trusted", Outcome(setxattr(path.c_str(), "trusted.x", "1", 1, 0)));
  Say("other space", Outcome(setxattr(path.c_str(), "none.x", "1", 1, 0)));
}

void FileCapability() {
  const std::string path = Path("capable");
  close(Open("capable"));
  // VFS_CAP_REVISION_2, CAP_NET_BIND_SERVICE permitted, not effective.
  const uint32_t value[5] = {0x02000000, 1U << 10, 0, 0, 0};
  Say("set", Outcome(setxattr(path.c_str(), "security.capability", value, sizeof value, 0)));
  uint32_t read[8] = {};
  Say("get", Outcome(getxattr(path.c_str(), "security.capability", read, sizeof read), true));
  const int fd = Open("capable", O_WRONLY);
  write(fd, "x", 1);
  close(fd);
  Say("after a write", Outcome(getxattr(path.c_str(), "security.capability", read, sizeof read), true));
}

void Locks() {
  const int fd = Open("locks");
  Say("flock", Outcome(flock(fd, LOCK_EX | LOCK_NB)));
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    const int other = Open("locks");
    Say("flock of another", Outcome(flock(other, LOCK_EX | LOCK_NB)));
    struct flock lock {};
    lock.l_type = F_WRLCK;
    Say("fcntl of another", Outcome(fcntl(other, F_SETLK, &lock)));
    fflush(stdout);
    pause();
  }
  usleep(200000);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  struct flock lock {};
  lock.l_type = F_WRLCK;
  Say("fcntl after its end", Outcome(fcntl(fd, F_SETLK, &lock)));
  Say("open file description", Outcome(fcntl(fd, F_OFD_SETLK, &lock)));
}

void Lease() {
  const int fd = Open("lease");
  Say("write lease", Outcome(fcntl(fd, F_SETLEASE, F_WRLCK)));
  Say("kind", Outcome(fcntl(fd, F_GETLEASE), true));
}

void Watch() {
  const int watcher = inotify_init1(IN_CLOEXEC);
  Say("inotify", Outcome(inotify_add_watch(watcher, FileDirectory().c_str(), IN_CREATE | IN_DELETE)));
  close(Open("watched"));
  unlink(Path("watched").c_str());
  pollfd wait{watcher, POLLIN, 0};
  Say("told", poll(&wait, 1, 2000) == 1 ? "yes" : "no");
}

void Mapping() {
  const int fd = Open("mapping");
  ftruncate(fd, 8192);
  char* shared = static_cast<char*>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  Say("shared", shared == MAP_FAILED ? Outcome(-1) : "ok");
  if (shared == MAP_FAILED) return;
  shared[0] = 'm';
  char data = 0;
  pread(fd, &data, 1, 0);
  Say("read sees it", data == 'm' ? "yes" : "no");
  pwrite(fd, "w", 1, 1);
  Say("mapping sees a write", shared[1] == 'w' ? "yes" : "no");
  Say("msync", Outcome(msync(shared, 8192, MS_SYNC)));
  void* code = mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
  Say("executable", code == MAP_FAILED ? Outcome(-1) : "ok");
}

void Direct() {
  const int fd = Open("direct", O_RDWR | O_CREAT | O_DIRECT);
  Say("O_DIRECT", Outcome(fd));
  void* page = nullptr;
  if (posix_memalign(&page, 4096, 4096) != 0) return;
  memset(page, 'x', 4096);
  Say("written", Outcome(pwrite(fd, page, 4096, 0), true));
}

void Times() {
  const int fd = Open("times");
  const timespec set[2] = {{1000000000, 123456789}, {1000000001, 987654321}};
  Say("utimensat", Outcome(futimens(fd, set)));
  struct stat status {};
  fstat(fd, &status);
  Say("access", std::to_string(status.st_atim.tv_sec) + "." + std::to_string(status.st_atim.tv_nsec));
  Say("change", std::to_string(status.st_mtim.tv_sec) + "." + std::to_string(status.st_mtim.tv_nsec));
  const timespec old[2] = {{-1000, 0}, {-1000, 0}};
  Say("before 1970", Outcome(futimens(fd, old)));
  fstat(fd, &status);
  Say("kept", std::to_string(status.st_mtim.tv_sec));
  const timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
  Say("now and omit", Outcome(futimens(fd, now)));
}

void WriteTime() {
  const int fd = Open("write-time");
  timespec begin{}, end{};
  clock_gettime(CLOCK_REALTIME_COARSE, &begin);
  write(fd, "x", 1);
  clock_gettime(CLOCK_REALTIME, &end);
  struct stat status {};
  fstat(fd, &status);
  // The kernel stamps files with its coarse clock; more than a second apart are two clocks.
  Say("older than the write", status.st_mtim.tv_sec + 1 < begin.tv_sec ? "yes" : "no");
  Say("in the future", status.st_mtim.tv_sec > end.tv_sec + 1 ? "yes" : "no");
}

void Sizes() {
  const int fd = Open("sizes");
  Say("3 TiB", Outcome(ftruncate(fd, 3LL << 40)));
  Say("negative", Outcome(ftruncate(fd, -1)));
  Say("write at 3 TiB", Outcome(pwrite(fd, "x", 1, (3LL << 40) - 1), true));
  struct stat status {};
  fstat(fd, &status);
  Say("size", std::to_string(status.st_size));
  rlimit limit{4096, RLIM_INFINITY};
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &limit);
  const int small = Open("small");
  Say("beyond RLIMIT_FSIZE", Outcome(pwrite(small, "x", 1, 8192)));
}

void BusyText() {
  const int fd = Open("busy");
  fchmod(fd, 0755);
  const int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  struct stat status {};
  fstat(self, &status);
  off_t offset = 0;
  while (offset < status.st_size && SendFile(fd, self, &offset, static_cast<size_t>(status.st_size - offset)) > 0) {
  }
  execl(Path("busy").c_str(), "probe", "ids", nullptr);
  Say("execute what is written", Outcome(-1));
  close(fd);
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    freopen("/dev/null", "w", stdout);
    execl(Path("busy").c_str(), "probe", "wait", nullptr);
    _exit(9);
  }
  usleep(300000);
  Say("write what runs", Outcome(Open("busy", O_WRONLY)));
  kill(child, SIGKILL);
  int state = 0;
  waitpid(child, &state, 0);
  Say("it ran", WIFSIGNALED(state) ? "yes" : "no");
}

void Inode() {
  const int fd = Open("inode");
  struct statx status {};
  Say("statx", Outcome(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &status)));
  Say("block size", std::to_string(status.stx_blksize));
  Say("links", std::to_string(status.stx_nlink));
  long flags = 0;
  Say("FS_IOC_GETFLAGS", Outcome(ioctl(fd, _IOR('f', 1, long), &flags)));
  Say("punched size", Outcome(ioctl(fd, FIONREAD, &flags)));
}

void Handles() {
  const int fd = Open("handles");
  alignas(8) char space[256] = {};
  auto* handle = reinterpret_cast<unsigned*>(space);
  handle[0] = 128;
  int mount = 0;
  Say("name_to_handle_at", Outcome(syscall(SYS_name_to_handle_at, fd, "", space, &mount, AT_EMPTY_PATH)));
}

}  // namespace

Operations ContentOperations() {
  return {{"temporary", TemporaryFile},
          {"unlinked", Unlinked},
          {"allocate", Allocate},
          {"holes", Holes},
          {"copy-range", CopyRange},
          {"attributes", Attributes},
          {"capability", FileCapability},
          {"locks", Locks},
          {"lease", Lease},
          {"watch", Watch},
          {"mapping", Mapping},
          {"direct", Direct},
          {"times", Times},
          {"write-time", WriteTime},
          {"sizes", Sizes},
          {"busy-text", BusyText},
          {"inode", Inode},
          {"handles", Handles}};
}

}  // namespace kata::probe
