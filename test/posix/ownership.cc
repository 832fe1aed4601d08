// SPDX-License-Identifier: Apache-2.0
// Who may give files away, and change their mode.
#include <fcntl.h>
#include <unistd.h>

#include "posix/probe.h"

namespace kata::posix {

void Ownership() {
  constexpr uid_t kSame = static_cast<uid_t>(-1);
  struct Actor {
    const char* name;
    const Who& who;
  };
  const Who owner_in_group{1000, 1000, {2000}, false};
  const Actor actors[] = {{"root", kRoot},     {"bare-root", kBareRoot},
                          {"owner", kOwner},   {"owner-in-group", owner_in_group},
                          {"member", kMember}, {"other", kOther}};
  struct Case {
    const char* name;
    uid_t uid;
    gid_t gid;
  };
  const Case cases[] = {{"user", 1003, kSame},      {"group-2000", kSame, 2000}, {"group-3000", kSame, 3000},
                        {"own-group", kSame, 1000}, {"same-user", 1000, kSame},  {"both", 1000, 2000},
                        {"nothing", kSame, kSame}};
  for (const Actor& actor : actors) {
    for (const Case& entry : cases) {
      Make("file", 0666, 1000, 1000);
      MakeDirectory("directory", 02777, 1000, 1000);
      if (::symlink("file", "link") != 0 || ::lchown("link", 1000, 1000) != 0) Report("link", Errno(-1));
      const std::string out = As(actor.who, [&] {
        return Errno(::chown("file", entry.uid, entry.gid)) + " " + Errno(::chown("directory", entry.uid, entry.gid)) +
               " " + Errno(::lchown("link", entry.uid, entry.gid));
      });
      Report(std::string("chown.") + actor.name + "." + entry.name,
             out + " " + Describe("file") + " " + Describe("directory") + " " + Describe("link"));
      ::unlink("file");
      ::unlink("link");
      ::rmdir("directory");
    }
    Make("file", 0666, 1000, 1000);
    Report(std::string("chmod.") + actor.name,
           As(actor.who, [] { return Errno(::chmod("file", 0640)); }) + " " + Mode("file"));
    Report(std::string("fchmod.") + actor.name, As(actor.who,
                                                   [] {
                                                     const int fd = ::open("file", O_RDONLY | O_CLOEXEC);
                                                     return fd < 0 ? Errno(fd) : Errno(::fchmod(fd, 0604));
                                                   }) +
                                                    " " + Mode("file"));
    ::unlink("file");
  }
  // Large ids come through whole.
  Make("large", 0644, 4000000000u, 3999999999u);
  Report("large", Describe("large"));
  // A file whose rights are gone stays open with them.
  Make("open", 0666, 1000, 1000, "content");
  Report("open-before-chmod", As(kOther, [] {
           const int fd = ::open("open", O_RDWR | O_CLOEXEC);
           char byte = 0;
           return Errno(fd) + " " + Errno(::read(fd, &byte, 1));
         }));
  const int fd = ::open("open", O_RDWR | O_CLOEXEC);
  if (::fchmod(fd, 0) != 0) Report("fchmod", Errno(-1));
  Report("open-after-chmod", As(kOther, [fd] {
           char byte = 0;
           return Errno(::pread(fd, &byte, 1, 0)) + " " + Errno(::pwrite(fd, "y", 1, 0)) + " " +
                  Errno(::open("open", O_RDONLY));
         }));
  ::close(fd);
  // A file that its creator may not open again can be written through the descriptor that made it.
  MakeDirectory("free", 0777, 0, 0);
  Report("create-0000", As(kOwner, [] {
           const int made = ::open("free/file", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0);
           return Errno(made) + " " + Errno(::write(made, "content", 7)) + " " + Errno(::open("free/file", O_RDONLY));
         }));
}

}  // namespace kata::posix
