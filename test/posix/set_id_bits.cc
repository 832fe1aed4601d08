// SPDX-License-Identifier: Apache-2.0
// When the set-user-ID and set-group-ID bits and file capabilities go away.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "posix/probe.h"

namespace kata::posix {
namespace {

constexpr char kCapability[] = "security.capability";

vfs_cap_data FileCapability() {
  vfs_cap_data data{};
  data.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE;
  data.data[0].permitted = 1u << CAP_NET_BIND_SERVICE;
  return data;
}

std::string HasCapability(const std::string& path) {
  char buffer[64];
  return ::getxattr(path.c_str(), kCapability, buffer, sizeof(buffer)) > 0 ? "with-capability" : "none";
}

long ByFd(const char* path, int flags, const std::function<long(int)>& work) {
  const int fd = ::open(path, flags | O_CLOEXEC);
  if (fd < 0) return fd;
  const long result = work(fd);
  const int error = errno;
  ::close(fd);
  errno = error;
  return result;
}

struct Change {
  const char* name;
  long (*make)(const char* path);
};
const Change kChanges[] = {
    {"write", [](const char* p) { return ByFd(p, O_WRONLY, [](int fd) { return ::write(fd, "y", 1); }); }},
    {"write-nothing", [](const char* p) { return ByFd(p, O_WRONLY, [](int fd) { return ::write(fd, "y", 0); }); }},
    {"append", [](const char* p) { return ByFd(p, O_WRONLY | O_APPEND, [](int fd) { return ::write(fd, "y", 1); }); }},
    {"pwritev",
     [](const char* p) {
       return ByFd(p, O_RDWR, [](int fd) {
         char byte = 'y';
         const iovec part{&byte, 1};
         return ::pwritev(fd, &part, 1, 0);
       });
     }},
    {"truncate", [](const char* p) -> long { return ::truncate(p, 0); }},
    {"ftruncate", [](const char* p) { return ByFd(p, O_WRONLY, [](int fd) -> long { return ::ftruncate(fd, 10); }); }},
    {"open-trunc", [](const char* p) { return ByFd(p, O_WRONLY | O_TRUNC, [](int) { return 0L; }); }},
    {"open-write", [](const char* p) { return ByFd(p, O_WRONLY, [](int) { return 0L; }); }},
    {"fallocate",
     [](const char* p) { return ByFd(p, O_WRONLY, [](int fd) -> long { return ::fallocate(fd, 0, 0, 8192); }); }},
    {"mmap-write",
     [](const char* p) {
       return ByFd(p, O_RDWR, [](int fd) -> long {
         void* at = ::mmap(nullptr, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
         if (at == MAP_FAILED) return -1;
         *static_cast<char*>(at) = 'y';
         ::msync(at, 1, MS_SYNC);
         return ::munmap(at, 1);
       });
     }},
    {"copy-range",
     [](const char* p) {
       return ByFd("source", O_RDONLY, [p](int from) {
         return ByFd(p, O_WRONLY,
                     [from](int to) -> long { return ::copy_file_range(from, nullptr, to, nullptr, 1, 0); });
       });
     }},
    {"chown-same", [](const char* p) -> long { return ::chown(p, static_cast<uid_t>(-1), static_cast<gid_t>(-1)); }},
    {"chown-group", [](const char* p) -> long { return ::chown(p, static_cast<uid_t>(-1), 2000); }},
    {"link",
     [](const char* p) -> long {
       const int result = ::link(p, "second");
       ::unlink("second");
       return result;
     }},
    {"utimens", [](const char* p) -> long { return ::utimensat(AT_FDCWD, p, nullptr, 0); }},
};

void AllChanges(const char* name, const Who& who, mode_t mode, uid_t uid, gid_t gid) {
  for (const Change& change : kChanges) {
    Make("file", mode, uid, gid);
    const std::string result = As(who, [&] { return Errno(change.make("file")); });
    Report(std::string(name) + "." + change.name, result + " " + Mode("file"));
    ::unlink("file");
  }
}

}  // namespace

void SetIdBits() {
  Make("source", 0666, 0, 0, "source");
  AllChanges("by-root", kRoot, 06777, 1000, 2000);
  AllChanges("by-bare-root", kBareRoot, 06777, 0, 2000);
  AllChanges("by-owner", kOwner, 06755, 1000, 2000);
  AllChanges("by-member", kSupplementary, 06777, 1000, 2000);
  AllChanges("by-other", kOther, 06777, 1000, 2000);
  // Not set-group-ID without the group's x bit: kernels differ, the rule is of 6.2.
  AllChanges("sticky-file", kOther, 01777, 1000, 2000);
  // File capabilities go with a change of the content or the owner.
  for (const Change& change : kChanges) {
    Make("file", 0777, 1000, 2000);
    const vfs_cap_data data = FileCapability();
    const std::string set = Errno(::setxattr("file", kCapability, &data, XATTR_CAPS_SZ_2, 0));
    const std::string result = As(kRoot, [&] { return Errno(change.make("file")); });
    Report(std::string("capability.") + change.name, set + " " + result + " " + HasCapability("file"));
    ::unlink("file");
  }
  Make("file", 0755, 1000, 1000);
  const vfs_cap_data data = FileCapability();
  Report("capability.set-by-owner",
         As(kOwner, [&] { return Errno(::setxattr("file", kCapability, &data, XATTR_CAPS_SZ_2, 0)); }));
  Report("capability.bad", Errno(::setxattr("file", kCapability, "x", 1, 0)));
  // chmod by somebody who is not of the file's group takes the bit that he asks for.
  struct Case {
    const char* name;
    const Who& who;
    gid_t gid;
  };
  for (const Case& entry : {Case{"root", kRoot, 2000}, Case{"owner", kOwner, 2000},
                            Case{"owner-own-group", kOwner, 1000}, Case{"other", kOther, 1000}}) {
    Make("chmod", 0755, 1000, entry.gid);
    MakeDirectory("chmod-directory", 0755, 1000, entry.gid);
    Report(std::string("chmod.") + entry.name,
           As(entry.who, [] { return Errno(::chmod("chmod", 06755)) + Errno(::chmod("chmod-directory", 03775)); }) +
               " " + Mode("chmod") + " " + Mode("chmod-directory"));
    ::unlink("chmod");
    ::rmdir("chmod-directory");
  }
  Make("sticky", 0644, 1000, 1000);
  Report("chmod.sticky-file", As(kOwner, [] { return Errno(::chmod("sticky", 01644)); }) + " " + Mode("sticky"));
}

}  // namespace kata::posix
