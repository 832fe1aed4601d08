// SPDX-License-Identifier: Apache-2.0
// What is in files: appending from several processes, shared memory maps, holes, allocation.
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "posix/probe.h"

namespace kata::posix {
namespace {

constexpr off_t kMebibyte = 1 << 20;

int Open(const char* path, int flags = O_CREAT | O_RDWR | O_TRUNC) { return ::open(path, flags | O_CLOEXEC, 0644); }

std::string Size(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 ? std::to_string(info.st_size) : Errno(-1);
}

void Appending() {
  constexpr int kProcesses = 4, kLines = 200;
  ::close(Open("append"));
  pid_t children[kProcesses];
  for (int i = 0; i < kProcesses; ++i) {
    children[i] = ::fork();
    if (children[i] != 0) continue;
    const int fd = Open("append", O_WRONLY | O_APPEND);
    char line[16];
    std::memset(line, 'a' + i, sizeof(line));
    line[15] = '\n';
    for (int n = 0; n < kLines; ++n) {
      if (::write(fd, line, sizeof(line)) != sizeof(line)) ::_exit(1);
    }
    ::_exit(0);
  }
  int failed = 0;
  for (pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    failed += status != 0;
  }
  const int fd = Open("append", O_RDONLY);
  int whole = 0;
  char line[16];
  while (::read(fd, line, sizeof(line)) == sizeof(line)) {
    bool is_whole = line[15] == '\n';
    for (int i = 1; i < 15; ++i) is_whole = is_whole && line[i] == line[0];
    whole += is_whole;
  }
  Report("append", "failed=" + std::to_string(failed) + " lines=" + std::to_string(whole) + " size=" + Size(fd));
  ::close(fd);
  const int both = Open("append", O_RDWR | O_APPEND);
  Report("append.pwrite", Errno(::pwrite(both, "z", 1, 0)) + " " + Size(both));
  ::close(both);
  const int turned = Open("append", O_RDWR);
  Report("append.fcntl",
         Errno(::fcntl(turned, F_SETFL, O_APPEND)) + " " + Errno(::write(turned, "z", 1)) + " " + Size(turned));
  ::close(turned);
}

void Maps() {
  const int fd = Open("map");
  if (::ftruncate(fd, 3 * 4096) != 0) Report("map.size", Errno(-1));
  char* at = static_cast<char*>(::mmap(nullptr, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  if (at == MAP_FAILED) return Report("map", Errno(-1));
  // Another process, another open of the file: both see what the other writes.
  const std::string child = As(kRoot, [] {
    const int other = Open("map", O_RDWR);
    char* its = static_cast<char*>(::mmap(nullptr, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0));
    if (its == MAP_FAILED) return Errno(-1);
    its[4096] = 'm';
    return Errno(::pwrite(other, "w", 1, 8192));
  });
  char byte = 0;
  Report("map.shared", child + " " + std::string(1, at[4096]) + std::string(1, at[8192]));
  at[0] = 'r';
  Report("map.read",
         Errno(::pread(fd, &byte, 1, 0)) + " " + std::string(1, byte) + " " + Errno(::msync(at, 4096, MS_SYNC)));
  Report("map.private", [fd] {
    char* mine = static_cast<char*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    mine[1] = 'p';
    char seen = 'x';
    const std::string out = Errno(::pread(fd, &seen, 1, 1));
    return out + " " + std::to_string(seen);
  }());
  ::munmap(at, 3 * 4096);
  Report("map.beyond", As(kRoot, [fd] {
           char* past = static_cast<char*>(::mmap(nullptr, 4 * 4096, PROT_READ, MAP_SHARED, fd, 0));
           volatile char value = past[3 * 4096];  // SIGBUS
           return std::string(1, value);
         }));
  const int read_only = Open("map", O_RDONLY);
  Report("map.read-only", ::mmap(nullptr, 4096, PROT_WRITE, MAP_SHARED, read_only, 0) == MAP_FAILED ? Errno(-1) : "ok");
  ::close(read_only);
  ::close(fd);
}

void Holes() {
  const int fd = Open("sparse");
  struct stat info {};
  Report("sparse", Errno(::ftruncate(fd, 64 * kMebibyte)) + " " + Errno(::pwrite(fd, "end", 3, 100 * kMebibyte)) + " " +
                       Size(fd) + " " + (::fstat(fd, &info) == 0 && info.st_blocks < 2048 ? "sparse" : "full"));
  Report("sparse.data", std::to_string(::lseek(fd, 0, SEEK_DATA)) + " " + std::to_string(::lseek(fd, 0, SEEK_HOLE)) +
                            " " + Errno(::lseek(fd, 200 * kMebibyte, SEEK_DATA)));
  char byte = 'x';
  Report("sparse.read", Errno(::pread(fd, &byte, 1, 50 * kMebibyte)) + " " + std::to_string(byte));
  ::close(fd);
  const int space = Open("allocated");
  Report("fallocate", Errno(::fallocate(space, 0, 0, kMebibyte)) + " " + Size(space));
  Report("fallocate.keep-size",
         Errno(::fallocate(space, FALLOC_FL_KEEP_SIZE, kMebibyte, kMebibyte)) + " " + Size(space));
  if (::pwrite(space, "content", 7, 4096) != 7) Report("fallocate.write", Errno(-1));
  Report("fallocate.punch", Errno(::fallocate(space, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096)) + " " +
                                Errno(::pread(space, &byte, 1, 4096)) + " " + std::to_string(byte));
  Report("fallocate.zero", Errno(::fallocate(space, FALLOC_FL_ZERO_RANGE, 0, 4096)));
  Report("fallocate.collapse", Errno(::fallocate(space, FALLOC_FL_COLLAPSE_RANGE, 0, 4096)));
  Report("fallocate.insert", Errno(::fallocate(space, FALLOC_FL_INSERT_RANGE, 0, 4096)));
  Report("posix-fallocate", [space] {
    const int error = ::posix_fallocate(space, 0, 3 * kMebibyte);
    return error == 0 ? "ok" : ErrnoName(error);
  }() + " " + Size(space));
  Report("truncate.shorter", Errno(::ftruncate(space, 10)) + " " + Size(space) + " " + Errno(::ftruncate(space, 4096)) +
                                 " " + Errno(::pread(space, &byte, 1, 4000)) + " " + std::to_string(byte));
  Report("truncate.negative", Errno(::ftruncate(space, -1)) + " " + Errno(::truncate(".", 0)));
  ::close(space);
  const int large = Open("large");
  Report("large", Errno(::pwrite(large, "x", 1, off_t{1} << 40)) + " " + Size(large));
  ::close(large);
  ::unlink("large");
}

void Copies() {
  const int from = Open("from");
  const std::string content(300'000, 'c');
  if (::write(from, content.data(), content.size()) != static_cast<ssize_t>(content.size()))
    Report("copies.make", Errno(-1));
  const int to = Open("to");
  off_t start = 0;
  Report("copy-range", std::to_string(::copy_file_range(from, &start, to, nullptr, 100'000, 0)) + " " + Size(to));
  start = 0;
  Report("sendfile", std::to_string(::sendfile(to, from, &start, 100'000)) + " " + Size(to));
  Report("clone", Errno(::ioctl(to, FICLONE, from)));
  const iovec parts[] = {{const_cast<char*>("one"), 3}, {const_cast<char*>("two"), 3}};
  Report("pwritev", std::to_string(::pwritev(to, parts, 2, 10)) + " " + Size(to));
  Report("sync", Errno(::fsync(to)) + " " + Errno(::fdatasync(to)) + " " + Errno(::syncfs(to)) + " " +
                     Errno(::sync_file_range(to, 0, 0, SYNC_FILE_RANGE_WRITE)));
  Report("advise",
         std::to_string(::posix_fadvise(to, 0, 0, POSIX_FADV_DONTNEED)) + " " + Errno(::readahead(to, 0, 4096)));
  ::close(to);
  const int direct = Open("direct", O_CREAT | O_RDWR | O_DIRECT);
  void* page = std::aligned_alloc(4096, 4096);
  std::memset(page, 'd', 4096);
  Report("direct",
         Errno(direct) + " " + Errno(::pwrite(direct, page, 4096, 0)) + " " + Errno(::pread(direct, page, 4096, 0)));
  std::free(page);
  ::close(direct);
  const int synced = Open("synced", O_CREAT | O_RDWR | O_SYNC);
  Report("o-sync", Errno(synced) + " " + Errno(::write(synced, "x", 1)));
  ::close(synced);
  int flags = 0;
  Report("inode-flags", Errno(::ioctl(from, FS_IOC_GETFLAGS, &flags)));
  int number = 0;
  Report("generation", Errno(::ioctl(from, FS_IOC_GETVERSION, &number)));
  Report("fionread", Errno(::ioctl(from, FIONREAD, &number)));
  ::close(from);
  struct statvfs space {};
  Report("statvfs", Errno(::statvfs(".", &space)) + " " +
                        (space.f_blocks > 0 && space.f_bavail > 0 ? "has space" : "none") +
                        " names=" + std::to_string(space.f_namemax) + " block=" + std::to_string(space.f_bsize) +
                        (space.f_files > 0 ? " has inodes" : " none"));
  Report("pathconf",
         std::to_string(::pathconf(".", _PC_NAME_MAX)) + " " + std::to_string(::pathconf(".", _PC_PATH_MAX)));
}

// What one process writes, another sees at once: size, content, mode, a new name.
void Coherence() {
  ::close(Open("watched"));
  const int fd = Open("watched", O_RDWR);
  const std::string child = As(kRoot, [] {
    const int mine = Open("watched", O_WRONLY);
    return Errno(::write(mine, "written", 7)) + " " + Errno(::fchmod(mine, 0600)) + " " +
           Errno(::link("watched", "watched-2"));
  });
  Report("coherence", child + " " + Size(fd) + " " + Describe("watched") + " " + Content("watched"));
  ::close(fd);
}

}  // namespace

void Data() {
  Appending();
  Maps();
  Holes();
  Copies();
  Coherence();
}

}  // namespace kata::posix
