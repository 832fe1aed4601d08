// SPDX-License-Identifier: Apache-2.0
// Which mode lets whom do what: owner, group, supplementary group, others, root with and without capabilities.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "posix/probe.h"

namespace kata::posix {
namespace {

struct Actor {
  const char* name;
  const Who& who;
};
const Actor kActors[] = {{"root", kRoot},     {"bare-root", kBareRoot},          {"owner", kOwner},
                         {"member", kMember}, {"supplementary", kSupplementary}, {"other", kOther}};

bool Opens(const char* path, int flags) {
  const int fd = ::open(path, flags | O_CLOEXEC);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

std::string FileRights(const std::string& path) {
  std::string out;
  out += Opens(path.c_str(), O_RDONLY) ? 'r' : '-';
  out += Opens(path.c_str(), O_WRONLY) ? 'w' : '-';
  out += ::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) == 0 ? 'x' : '-';
  out += ::truncate(path.c_str(), 1) == 0 ? 't' : '-';
  return out;
}

// List, look up, create, link, rename, remove: what a directory's mode decides.
std::string DirectoryRights(const std::string& path) {
  std::string out;
  const std::string made = path + "/made";
  const std::string moved = path + "/moved";
  struct stat info {};
  out += Opens(path.c_str(), O_RDONLY | O_DIRECTORY) ? 'r' : '-';
  out += ::stat((path + "/file").c_str(), &info) == 0 ? 'x' : '-';
  const int fd = ::open(made.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  if (fd >= 0) ::close(fd);
  out += fd >= 0 ? 'c' : '-';
  out += ::link("linkable", (path + "/second").c_str()) == 0 ? 'l' : '-';
  out += ::mkdir((path + "/directory").c_str(), 0755) == 0 ? 'd' : '-';
  out += ::symlink("nowhere", (path + "/link").c_str()) == 0 ? 's' : '-';
  out += ::rename(made.c_str(), moved.c_str()) == 0 ? 'm' : '-';
  out += ::unlink(moved.c_str()) == 0 ? 'u' : '-';
  ::unlink((path + "/second").c_str());
  ::unlink((path + "/link").c_str());
  ::rmdir((path + "/directory").c_str());
  return out;
}

std::string ForAll(const std::function<std::string()>& work) {
  std::string out;
  for (const Actor& actor : kActors)
    out += std::string(out.empty() ? "" : " ") + actor.name + "=" + As(actor.who, work);
  return out;
}

std::string Octal(mode_t mode) {
  char text[8];
  std::snprintf(text, sizeof(text), "%04o", mode);
  return text;
}

}  // namespace

void Permissions() {
  Make("linkable", 0666, 0, 0);
  for (mode_t mode : {0000, 0700, 0070, 0007, 0644, 0640, 0604, 0460, 0406, 0755, 0570, 0077, 0707, 0111, 0222}) {
    const std::string name = "file-" + Octal(mode);
    Make(name, mode, 1000, 2000);
    Report("file." + Octal(mode), ForAll([&] { return FileRights(name); }));
  }
  for (mode_t mode : {0000, 0700, 0070, 0007, 0755, 0750, 0775, 0770, 0111, 0333, 0444, 0077, 01777, 02775, 01775}) {
    const std::string name = "directory-" + Octal(mode);
    MakeDirectory(name, 0700, 0, 0);
    Make(name + "/file", 0644, 0, 0);
    if (::chown(name.c_str(), 1000, 2000) != 0 || ::chmod(name.c_str(), mode) != 0) Report("make." + name, Errno(-1));
    Report("directory." + Octal(mode), ForAll([&] { return DirectoryRights(name); }));
  }
  // The way to a file decides as well: a path through directories that a group alone may enter.
  MakeDirectory("outer", 0710, 0, 2000);
  MakeDirectory("outer/inner", 0711, 0, 0);
  Make("outer/inner/file", 0644, 0, 0);
  Report("way", ForAll([] { return FileRights("outer/inner/file"); }));
  // In a sticky directory only the owner of a file or of the directory removes it, whoever may write.
  MakeDirectory("sticky", 01777, 1000, 1000);
  for (const Actor& actor : kActors) {
    Make("sticky/file", 0666, 1001, 2000);
    Make("sticky/second", 0666, 1003, 1003);
    Report(std::string("sticky.") + actor.name, As(actor.who, [] {
             std::string out = "rename=" + Errno(::rename("sticky/file", "sticky/moved"));
             out += " over=" + Errno(::rename("sticky/second", "sticky/file"));
             return out + " unlink=" + Errno(::unlink("sticky/file"));
           }));
    for (const char* name : {"sticky/file", "sticky/second", "sticky/moved"}) ::unlink(name);
  }
  // A program needs one x bit, for root too.
  Make("program-0644", 0644, 0, 0);
  Make("program-0001", 0001, 1000, 1000);
  for (const char* name : {"program-0644", "program-0001"}) {
    Report(std::string("exec.") + name, ForAll([name] {
             char* const arguments[] = {const_cast<char*>(name), nullptr};
             ::execv(name, arguments);
             return Errno(-1);  // ENOEXEC: it might be run
           }));
  }
}

}  // namespace kata::posix
