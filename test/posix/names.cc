// SPDX-License-Identifier: Apache-2.0
// Names: links, renames, removals, directories.
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "posix/probe.h"

namespace kata::posix {
namespace {

std::string Rename(const char* from, const char* to, unsigned flags) {
  return Errno(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags));
}

std::string List(const char* path) {
  DIR* directory = ::opendir(path);
  if (directory == nullptr) return Errno(-1);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(directory)) names.push_back(entry->d_name);
  ::closedir(directory);
  std::sort(names.begin(), names.end());
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ",") + name;
  return out;
}

std::string Target(const char* path) {
  char buffer[5000];
  const ssize_t size = ::readlink(path, buffer, sizeof(buffer));
  return size < 0 ? Errno(size) : std::string(buffer, std::min<size_t>(static_cast<size_t>(size), 20));
}

void Links() {
  Make("file", 0644, 0, 0, "first");
  Report("link", Errno(::link("file", "second")) + " " + Describe("file") + " " + Describe("second"));
  Report("link.exists", Errno(::link("file", "second")));
  MakeDirectory("directory", 0755, 0, 0);
  Report("link.directory", Errno(::link("directory", "other")));
  Report("link.missing", Errno(::link("missing", "other")));
  struct stat one {
  }, two{};
  const bool is_stat = ::stat("file", &one) == 0 && ::stat("second", &two) == 0;
  Report("link.same", is_stat && one.st_ino == two.st_ino && one.st_dev == two.st_dev ? "ok" : "differ");
  Report("link.unlink-one", Errno(::unlink("file")) + " " + Describe("second") + " " + Content("second"));
  for (int i = 0; i < 30; ++i) {
    const std::string name = "link-" + std::to_string(i);
    if (::link("second", name.c_str()) != 0) Report("link.many", Errno(-1));
  }
  Report("link.many", Describe("second"));
  Report("symlink", Errno(::symlink("second", "sym")) + " " + Target("sym") + " " + Content("sym"));
  Report("symlink.exists", Errno(::symlink("x", "sym")));
  Report("symlink.empty", Errno(::symlink("", "empty")));
  const std::string long_target(4095, 't');
  const std::string too_long(4096, 't');
  Report("symlink.long", Errno(::symlink(long_target.c_str(), "long")) + " " + Target("long"));
  Report("symlink.too-long", Errno(::symlink(too_long.c_str(), "too-long")));
  Report("symlink.loop", Errno(::symlink("loop", "loop")) + " " + Content("loop"));
  Report("symlink.dangling", Errno(::symlink("nowhere", "dangling")) + " " + Content("dangling"));
  const int made = ::open("dangling", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  Report("symlink.create-through", Errno(made) + " " + Describe("nowhere"));
  ::close(made);
  Report("symlink.create-exclusive", Errno(::open("dangling", O_CREAT | O_EXCL | O_WRONLY, 0644)));
  Report("symlink.nofollow", Errno(::open("sym", O_RDONLY | O_NOFOLLOW)));
  Report("symlink.link", Errno(::link("sym", "sym-second")) + " " + Describe("sym-second"));
  Report("symlink.link-follow",
         Errno(::linkat(AT_FDCWD, "sym", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW)) + " " + Describe("followed"));
  Report("protected-hardlink", As(kOther, [] { return Errno(::link("second", "stolen")); }));
}

void Renames() {
  Make("a", 0644, 0, 0, "a");
  Make("b", 0644, 0, 0, "b");
  MakeDirectory("full", 0755, 0, 0);
  Make("full/file", 0644, 0, 0);
  MakeDirectory("empty1", 0755, 0, 0);
  MakeDirectory("empty2", 0755, 0, 0);
  Report("rename.exchange", Rename("a", "b", RENAME_EXCHANGE) + " " + Content("a") + Content("b"));
  Report("rename.exchange-kinds",
         Rename("a", "empty1", RENAME_EXCHANGE) + " " + Describe("a") + " " + Describe("empty1"));
  Report("rename.exchange-back", Rename("a", "empty1", RENAME_EXCHANGE));
  Report("rename.exchange-missing", Rename("a", "missing", RENAME_EXCHANGE));
  Report("rename.noreplace", Rename("a", "b", RENAME_NOREPLACE) + " " + Content("a") + Content("b"));
  Report("rename.noreplace-new", Rename("a", "c", RENAME_NOREPLACE) + " " + Content("c"));
  Report("rename.whiteout", Rename("c", "d", RENAME_WHITEOUT) + " " + Describe("c") + " " + Describe("d"));
  ::unlink("c");
  Report("rename.whiteout-back", Rename("d", "c", 0));
  Report("rename.over", Rename("c", "b", 0) + " " + Content("b") + Describe("c"));
  Report("rename.same", Rename("b", "b", 0) + " " + Describe("b"));
  Report("rename.hard-link",
         Errno(::link("b", "b2")) + " " + Rename("b", "b2", 0) + " " + Describe("b") + " " + Describe("b2"));
  Report("rename.directory-over-full", Rename("empty1", "full", 0));
  Report("rename.directory-over-empty", Rename("empty1", "empty2", 0) + " " + Describe("empty1"));
  Report("rename.directory-over-file", Rename("empty2", "b", 0));
  Report("rename.file-over-directory", Rename("b", "empty2", 0));
  Report("rename.into-itself", Rename("full", "full/below", 0));
  Report("rename.missing", Rename("missing", "x", 0));
  Report("rename.dot", Rename("full/.", "x", 0));
  Report("rename.slash", Rename("b", "x/", 0));
  // A process that is inside a directory sees where it goes.
  Report("rename.current", As(kRoot, [] {
           if (::chdir("full") != 0 || ::rename("../full", "../moved") != 0) return Errno(-1);
           char buffer[4096];
           const std::string path = ::getcwd(buffer, sizeof(buffer)) != nullptr ? buffer : "?";
           const std::string back = Errno(::rename("../moved", "../full"));
           return path.substr(path.rfind('/')) + " " + Describe("file") + " " + back;
         }));
  const int fd = ::open("b", O_RDWR | O_CLOEXEC);
  Make("over", 0644, 0, 0, "over");
  char byte = 0;
  Report("rename.over-open", Rename("over", "b", 0) + " " + Errno(::pread(fd, &byte, 1, 0)) + " " +
                                 std::string(1, byte) + " " + Content("b"));
  struct stat info {};
  Report("rename.over-open-links", Errno(::fstat(fd, &info)) + " " + std::to_string(info.st_nlink));
  ::close(fd);
}

void Removals() {
  Make("gone", 0644, 0, 0, "content");
  const int fd = ::open("gone", O_RDWR | O_CLOEXEC);
  struct stat info {};
  Report("unlink.open",
         Errno(::unlink("gone")) + " " + Errno(::write(fd, "C", 1)) + " " + Errno(::lseek(fd, 0, SEEK_SET)));
  char buffer[8];
  Report("unlink.open-read", std::to_string(::pread(fd, buffer, sizeof(buffer), 0)) + " " + Errno(::fstat(fd, &info)) +
                                 " " + std::to_string(info.st_nlink) + " " + std::to_string(info.st_size));
  Report("unlink.open-change", Errno(::fchmod(fd, 0600)) + " " + Errno(::ftruncate(fd, 3)) + " " + Errno(::fsync(fd)) +
                                   " " + Errno(::fchown(fd, 1, 1)) + " " + Errno(::futimens(fd, nullptr)));
  const std::string magic = "/proc/self/fd/" + std::to_string(fd);
  Report("unlink.open-again", Errno(::open(magic.c_str(), O_RDONLY)) + " " +
                                  Errno(::linkat(AT_FDCWD, magic.c_str(), AT_FDCWD, "back", AT_SYMLINK_FOLLOW)));
  ::close(fd);
  MakeDirectory("left", 0755, 0, 0);
  Report("rmdir.current", As(kRoot, [] {
           if (::chdir("left") != 0) return Errno(-1);
           std::string out = Errno(::rmdir("../left")) + " " + Errno(::open("new", O_CREAT | O_WRONLY, 0644));
           char path[4096];
           return out + " " + (::getcwd(path, sizeof(path)) != nullptr ? "has path" : ErrnoName(errno)) + " " +
                  List(".");
         }));
  MakeDirectory("kept", 0755, 0, 0);
  Make("kept/file", 0644, 0, 0);
  Report("rmdir.full", Errno(::rmdir("kept")));
  Report("rmdir.file", Errno(::rmdir("kept/file")));
  Report("rmdir.dot", Errno(::rmdir("kept/.")));
  Report("unlink.directory", Errno(::unlink("kept")));
  Report("unlink.missing", Errno(::unlink("missing")));
  Report("unlink.slash", Errno(::unlink("kept/file/")));
}

void Directories() {
  MakeDirectory("many", 0755, 0, 0);
  std::set<std::string> expected;
  for (int i = 0; i < 500; ++i) {
    const std::string name = "many/file-with-a-name-" + std::to_string(i);
    ::close(::open(name.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    expected.insert(name.substr(5));
  }
  DIR* directory = ::opendir("many");
  int count = 0, bad_kinds = 0;
  long middle = -1;
  std::string after_middle;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (middle >= 0 && after_middle.empty()) after_middle = name;
    if (++count == 250) middle = ::telldir(directory);
    bad_kinds += entry->d_type != DT_REG;
    expected.erase(name);
  }
  Report("readdir",
         std::to_string(count) + " missing=" + std::to_string(expected.size()) + " kinds=" + std::to_string(bad_kinds));
  ::seekdir(directory, middle);
  const dirent* again = ::readdir(directory);
  Report("seekdir", again != nullptr && after_middle == again->d_name ? "ok" : "elsewhere");
  ::rewinddir(directory);
  // Removing while reading loses none.
  int removed = 0;
  while (const dirent* entry = ::readdir(directory)) {
    if (entry->d_name[0] != '.') removed += ::unlinkat(::dirfd(directory), entry->d_name, 0) == 0;
  }
  ::closedir(directory);
  Report("readdir.remove", std::to_string(removed) + " " + List("many"));
  struct stat info {};
  MakeDirectory("many/below", 0755, 0, 0);
  Report("directory.links", ::stat("many", &info) == 0 ? std::to_string(info.st_nlink) : Errno(-1));
  Report("directory.write", Errno(::open("many", O_WRONLY)) + " " + Errno(::open("many", O_CREAT | O_RDONLY, 0644)));
  Report("file.as-directory", Errno(::open("file", O_RDONLY | O_DIRECTORY)) + " " + Content("second/x"));
  const std::string longest(255, 'n');
  const std::string longer(256, 'n');
  Report("name.longest", Errno(::mkdir(longest.c_str(), 0755)) + " " + Errno(::mkdir(longer.c_str(), 0755)));
  Report("name.bytes", Errno(::mkdir("\xff\xfe\x01 \n", 0755)) + " " + Describe("\xff\xfe\x01 \n"));
  Report("name.case", Errno(::mkdir("Case", 0755)) + " " + Errno(::mkdir("case", 0755)));
  Report("name.dots", Errno(::mkdir("...", 0755)) + " " + Errno(::mkdir(".", 0755)) + " " + Errno(::mkdir("..", 0755)));
  std::string deep = ".";
  int levels = 0;
  for (; levels < 200 && ::mkdir((deep += "/d").c_str(), 0755) == 0; ++levels) {
  }
  Report("directory.deep", std::to_string(levels));
  const int path_fd = ::open("second", O_PATH | O_CLOEXEC);
  char byte = 0;
  Report("o-path", Errno(path_fd) + " " + Errno(::read(path_fd, &byte, 1)) + " " + Errno(::fchmod(path_fd, 0600)));
  ::close(path_fd);
}

}  // namespace

void Names() {
  Links();
  Renames();
  Removals();
  Directories();
}

}  // namespace kata::posix
