// SPDX-License-Identifier: Apache-2.0
// What new files look like: owner, group, mode; in setgid directories, through a supplementary group, under a umask.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "posix/probe.h"

namespace kata::posix {
namespace {

int Bind(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  const int result = ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  const int error = errno;
  ::close(fd);
  errno = error;
  return result;
}

int Open(const std::string& path, int flags, mode_t mode) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd >= 0) ::close(fd);
  return fd;
}

// Each way to make a file, as `who`, in `directory`.
void AllWays(const std::string& name, const std::string& directory, const Who& who, mode_t mask) {
  struct Way {
    const char* name;
    std::function<long(const std::string&)> make;
  };
  const Way ways[] = {
      {"open", [](const std::string& p) { return Open(p, O_CREAT | O_EXCL | O_RDWR, 0666); }},
      {"open-0400", [](const std::string& p) { return Open(p, O_CREAT | O_EXCL | O_RDWR, 0400); }},
      {"open-6777", [](const std::string& p) { return Open(p, O_CREAT | O_EXCL | O_RDWR, 06777); }},
      {"mkdir", [](const std::string& p) { return ::mkdir(p.c_str(), 0777); }},
      {"mkdir-1700", [](const std::string& p) { return ::mkdir(p.c_str(), 01700); }},
      {"symlink", [](const std::string& p) { return ::symlink("target", p.c_str()); }},
      {"mkfifo", [](const std::string& p) { return ::mkfifo(p.c_str(), 0666); }},
      {"mknod-file", [](const std::string& p) { return ::mknod(p.c_str(), S_IFREG | 02775, 0); }},
      {"mknod-socket", [](const std::string& p) { return ::mknod(p.c_str(), S_IFSOCK | 0666, 0); }},
      {"mknod-char", [](const std::string& p) { return ::mknod(p.c_str(), S_IFCHR | 0666, makedev(1, 3)); }},
      {"bind", [](const std::string& p) { return Bind(p); }},
      {"link", [](const std::string& p) { return ::link("linkable", p.c_str()); }},
      {"rename",
       [](const std::string& p) {
         const std::string own = "open/own-" + std::to_string(::geteuid());
         Open(own, O_CREAT | O_RDWR, 0644);
         const int result = ::rename(own.c_str(), p.c_str());
         const int error = errno;
         ::unlink(own.c_str());
         errno = error;
         return result;
       }},
      {"tmpfile",
       [&](const std::string& p) {
         const int fd = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
         if (fd < 0) return fd;
         const std::string magic = "/proc/self/fd/" + std::to_string(fd);
         return ::linkat(AT_FDCWD, magic.c_str(), AT_FDCWD, p.c_str(), AT_SYMLINK_FOLLOW);
       }},
  };
  for (const Way& way : ways) {
    const std::string path = directory + "/" + way.name;
    const std::string result = As(who, [&] {
      ::umask(mask);
      return Errno(way.make(path));
    });
    Report(name + "." + way.name, result + " " + Describe(path));
    if (::unlink(path.c_str()) != 0) ::rmdir(path.c_str());
  }
}

}  // namespace

void Creation() {
  Make("linkable", 0666, 1002, 1002);
  MakeDirectory("open", 01777, 0, 0);
  MakeDirectory("setgid", 02770, 0, 2000);
  MakeDirectory("group", 0770, 0, 2000);
  MakeDirectory("world-setgid", 02777, 0, 2000);
  MakeDirectory("private", 0700, 1000, 1000);
  MakeDirectory("other-group", 02775, 0, 3000);
  AllWays("root.plain", "group", kRoot, 022);
  AllWays("root.setgid", "setgid", kRoot, 0);
  AllWays("supplementary.setgid", "setgid", kSupplementary, 022);
  AllWays("supplementary.group", "group", kSupplementary, 0);
  AllWays("member.setgid", "setgid", kMember, 077);
  AllWays("member.group", "group", kMember, 027);
  AllWays("other.setgid", "setgid", kOther, 022);
  AllWays("other.world-setgid", "world-setgid", kOther, 0);
  AllWays("owner.private", "private", kOwner, 002);
  AllWays("other.private", "private", kOther, 0);
  AllWays("supplementary.other-group", "other-group", kSupplementary, 0);
  AllWays("bare-root.private", "private", kBareRoot, 0);
  AllWays("bare-root.open", "open", kBareRoot, 022);
  // Many supplementary groups, the one that counts the last of them.
  Who many{1004, 1004, {}, false};
  for (gid_t group = 5000; group < 5040; ++group) many.groups.push_back(group);
  many.groups.push_back(2000);
  AllWays("many-groups.setgid", "setgid", many, 022);
  // A set-group-ID directory hands its bit down, two levels.
  Report("setgid.nested", As(kSupplementary, [] {
           ::umask(022);
           std::string out = Errno(::mkdir("setgid/a", 0755)) + Errno(::mkdir("setgid/a/b", 0755));
           out += Errno(Open("setgid/a/b/file", O_CREAT | O_RDWR, 0644));
           return out + " " + Describe("setgid/a/b") + " " + Describe("setgid/a/b/file");
         }));
}

}  // namespace kata::posix
