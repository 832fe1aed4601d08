// SPDX-License-Identifier: Apache-2.0
// Device nodes, fifos, unix sockets, files without a name.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "posix/probe.h"

namespace kata::posix {
namespace {

sockaddr_un Address(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
  return address;
}

std::string Connect(const char* path, int type) {
  const int fd = ::socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  const sockaddr_un address = Address(path);
  const std::string out = Errno(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)));
  ::close(fd);
  return out;
}

void Sockets() {
  for (int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
    const std::string name = "socket-" + std::to_string(type);
    const int fd = ::socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    const sockaddr_un address = Address(name.c_str());
    std::string out = Errno(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)));
    if (type != SOCK_DGRAM) out += " " + Errno(::listen(fd, 8));
    out += " " + As(kOther, [&] { return Connect(name.c_str(), type); });
    out += " " + Errno(::chmod(name.c_str(), 0600)) + " " + As(kOther, [&] { return Connect(name.c_str(), type); });
    out += " " + Errno(::rename(name.c_str(), "moved")) + " " + Connect("moved", type);
    out += " again=" +
           Errno(::bind(::socket(AF_UNIX, type, 0), reinterpret_cast<const sockaddr*>(&address), sizeof(address)));
    ::close(fd);
    out += " closed=" + Connect("moved", type) + " " + Describe("moved") + " open=" + Errno(::open("moved", O_RDWR));
    Report("socket." + std::to_string(type), out);
    ::unlink("moved");
    ::unlink(name.c_str());
  }
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un address = Address("taken");
  Make("taken", 0644, 0, 0);
  Report("socket.exists", Errno(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address))) + " " +
                              Connect("taken", SOCK_STREAM));
  ::close(fd);
}

void Fifos() {
  Report("fifo", Errno(::mkfifo("fifo", 0666)) + " " + Describe("fifo"));
  Report("fifo.no-reader", Errno(::open("fifo", O_WRONLY | O_NONBLOCK)));
  Report("fifo.data", As(kRoot, [] {
           const pid_t writer = ::fork();
           if (writer == 0) {
             const int fd = ::open("fifo", O_WRONLY | O_CLOEXEC);  // waits for the reader
             ::_exit(::write(fd, "through", 7) == 7 ? 0 : 1);
           }
           const int fd = ::open("fifo", O_RDONLY | O_CLOEXEC);
           std::string out;
           char buffer[16];
           for (ssize_t count; (count = ::read(fd, buffer, sizeof(buffer))) > 0;)
             out.append(buffer, static_cast<size_t>(count));
           int status = 0;
           ::waitpid(writer, &status, 0);
           return out + " " + std::to_string(status);
         }));
  const int fd = ::open("fifo", O_RDWR | O_CLOEXEC);
  struct stat info {};
  Report("fifo.both", Errno(fd) + " " + Errno(::write(fd, "x", 1)) + " " + Errno(::fstat(fd, &info)) + " " +
                          Errno(::lseek(fd, 0, SEEK_SET)) + " " + Errno(::unlink("fifo")) + " " +
                          Errno(::write(fd, "y", 1)));
  ::close(fd);
}

void Devices() {
  struct Case {
    const char* name;
    mode_t type;
    unsigned major, minor;
  };
  for (const Case& entry :
       {Case{"null", S_IFCHR, 1, 3}, Case{"zero", S_IFCHR, 1, 5}, Case{"whiteout", S_IFCHR, 0, 0},
        Case{"mem", S_IFCHR, 1, 1}, Case{"block", S_IFBLK, 7, 0}, Case{"large", S_IFCHR, 300, 70000}}) {
    std::string out =
        Errno(::mknod(entry.name, entry.type | 0666, makedev(entry.major, entry.minor))) + " " + Describe(entry.name);
    struct stat info {};
    if (::stat(entry.name, &info) == 0)
      out += " " + std::to_string(major(info.st_rdev)) + ":" + std::to_string(minor(info.st_rdev));
    if (entry.major == 1) {
      const int fd = ::open(entry.name, O_RDWR | O_CLOEXEC);
      out += " open=" + Errno(fd);
      if (fd >= 0) ::close(fd);
    }
    Report(std::string("mknod.") + entry.name, out);
  }
  Report("mknod.by-owner", As(kOwner, [] { return Errno(::mknod("by-owner", S_IFCHR | 0666, makedev(1, 3))); }));
  Report("mknod.directory", Errno(::mknod("by-mknod", S_IFDIR | 0755, 0)));
  Report("mknod.link", Errno(::mknod("by-mknod", S_IFLNK | 0755, 0)));
  Report("mknod.exists", Errno(::mknod("null", S_IFREG | 0644, 0)));
}

void Nameless() {
  const int fd = ::open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);
  if (fd < 0) {
    const std::string refused = Errno(fd);
    for (const char* name : {"tmpfile", "tmpfile.link", "tmpfile.exclusive"}) Report(name, refused);
    return;
  }
  struct stat info {};
  Report("tmpfile",
         Errno(::write(fd, "content", 7)) + " " + Errno(::fstat(fd, &info)) + " " + std::to_string(info.st_nlink));
  const std::string magic = "/proc/self/fd/" + std::to_string(fd);
  Report("tmpfile.link", Errno(::linkat(AT_FDCWD, magic.c_str(), AT_FDCWD, "named", AT_SYMLINK_FOLLOW)) + " " +
                             Describe("named") + " " + Content("named"));
  ::close(fd);
  const int never = ::open(".", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0640);
  const std::string other = "/proc/self/fd/" + std::to_string(never);
  Report("tmpfile.exclusive", Errno(::linkat(AT_FDCWD, other.c_str(), AT_FDCWD, "never", AT_SYMLINK_FOLLOW)));
  ::close(never);
}

}  // namespace

void SpecialFiles() {
  Sockets();
  Fifos();
  Devices();
  Nameless();
}

}  // namespace kata::posix
