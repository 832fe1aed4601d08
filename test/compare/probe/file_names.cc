// SPDX-License-Identifier: Apache-2.0
// Operations on names and directories, and who may do them.
#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "test/compare/probe/probe.h"

namespace kata::probe {
namespace {

long SetGroups(size_t count, const gid_t* groups) { return syscall(SYS_setgroups, count, groups); }

void Rename() {
  close(Open("rename-a"));
  close(Open("rename-b"));
  Say("no replace",
      Outcome(syscall(SYS_renameat2, AT_FDCWD, Path("rename-a").c_str(), AT_FDCWD, Path("rename-b").c_str(), 1)));
  Say("exchange",
      Outcome(syscall(SYS_renameat2, AT_FDCWD, Path("rename-a").c_str(), AT_FDCWD, Path("rename-b").c_str(), 2)));
  mkdir(Path("rename-dir").c_str(), 0755);
  Say("file over directory", Outcome(rename(Path("rename-a").c_str(), Path("rename-dir").c_str())));
  Say("directory over file", Outcome(rename(Path("rename-dir").c_str(), Path("rename-a").c_str())));
  Say("into itself", Outcome(rename(Path("rename-dir").c_str(), Path("rename-dir/x").c_str())));
}

void Whiteout() {
  close(Open("whiteout"));
  Say("whiteout",
      Outcome(syscall(SYS_renameat2, AT_FDCWD, Path("whiteout").c_str(), AT_FDCWD, Path("whiteout-b").c_str(), 4)));
}

void Names() {
  Say("255", Outcome(open(Path(std::string(255, 'n')).c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)));
  Say("256", Outcome(open(Path(std::string(256, 'n')).c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)));
  Say("bytes that are no text", Outcome(open(Path("\xff\xfe\n x").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)));
  Say("empty", Outcome(open("", O_RDONLY | O_CLOEXEC)));
  Say("path too long", Outcome(open(std::string(5000, 'p').c_str(), O_RDONLY | O_CLOEXEC)));
  symlink(Path("loop").c_str(), Path("loop").c_str());
  Say("loop", Outcome(open(Path("loop").c_str(), O_RDONLY | O_CLOEXEC)));
}

void OpenFlags() {
  close(Open("flags"));
  symlink("flags", Path("flags-link").c_str());
  Say("exclusive", Outcome(Open("flags", O_RDWR | O_CREAT | O_EXCL)));
  Say("no follow", Outcome(Open("flags-link", O_RDONLY | O_NOFOLLOW)));
  Say("path", Outcome(Open("flags-link", O_PATH | O_NOFOLLOW)));
  Say("directory", Outcome(Open("flags", O_RDONLY | O_DIRECTORY)));
  Say("no access time", Outcome(Open("flags", O_RDONLY | O_NOATIME)));
  Say("write a directory", Outcome(open(FileDirectory().c_str(), O_WRONLY | O_CLOEXEC)));
  Say("sync", Outcome(Open("flags", O_WRONLY | O_SYNC)));
  const int fd = Open("flags", O_WRONLY | O_APPEND);
  write(fd, "ab", 2);
  Say("append ignores the place", Outcome(pwrite(fd, "c", 1, 0), true));
  struct stat status {};
  fstat(fd, &status);
  Say("size", std::to_string(status.st_size));
}

void Nodes() {
  Say("fifo", Outcome(mkfifo(Path("fifo").c_str(), 0600)));
  Say("null", Outcome(mknod(Path("null").c_str(), S_IFCHR | 0666, makedev(1, 3))));
  Say("null opened", Outcome(Open("null", O_RDWR)));
  Say("disk", Outcome(mknod(Path("disk").c_str(), S_IFBLK | 0600, makedev(8, 0))));
  Say("disk opened", Outcome(Open("disk", O_RDONLY)));
  Say("memory", Outcome(mknod(Path("memory").c_str(), S_IFCHR | 0600, makedev(1, 1))));
  Say("memory opened", Outcome(Open("memory", O_RDONLY)));
  Say("kernel log", Outcome(mknod(Path("kmsg").c_str(), S_IFCHR | 0600, makedev(1, 11))));
  Say("kernel log opened", Outcome(Open("kmsg", O_RDONLY)));
}

void UnixSocket() {
  const int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", FileDirectory().c_str());
  Say("bind", Outcome(bind(server, reinterpret_cast<sockaddr*>(&address), sizeof address)));
  Say("listen", Outcome(listen(server, 1)));
  const int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  Say("connect", Outcome(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address)));
  Say("bind again", Outcome(bind(client, reinterpret_cast<sockaddr*>(&address), sizeof address)));
}

void Links() {
  close(Open("links"));
  Say("hard", Outcome(link(Path("links").c_str(), Path("links-b").c_str())));
  struct stat status {
  }, other{};
  stat(Path("links").c_str(), &status);
  stat(Path("links-b").c_str(), &other);
  Say("count", std::to_string(status.st_nlink));
  Say("same inode", status.st_ino == other.st_ino && status.st_dev == other.st_dev ? "yes" : "no");
  Say("directory", Outcome(link(FileDirectory().c_str(), Path("links-c").c_str())));
  Say("to another file system", Outcome(link(Path("links").c_str(), "/dev/shm/links")));
  symlink("nowhere", Path("dangling").c_str());
  Say("of a link", Outcome(link(Path("dangling").c_str(), Path("dangling-b").c_str())));
}

void SetIds() {
  const int fd = Open("set-ids");
  fchmod(fd, 06755);
  struct stat status {};
  fstat(fd, &status);
  char text[16];
  snprintf(text, sizeof text, "%o", status.st_mode & 07777);
  Say("set", text);
  chown(Path("set-ids").c_str(), 1000, 1000);
  fstat(fd, &status);
  snprintf(text, sizeof text, "%o", status.st_mode & 07777);
  Say("after chown", text);
  fchmod(fd, 06755);
  if (fork() == 0) {
    setgid(1000);
    setuid(1000);
    write(fd, "x", 1);
    _exit(0);
  }
  wait(nullptr);
  fstat(fd, &status);
  snprintf(text, sizeof text, "%o", status.st_mode & 07777);
  Say("after a user's write", text);
}

void Sticky() {
  mkdir(Path("sticky").c_str(), 01777);
  chmod(Path("sticky").c_str(), 01777);
  close(Open("sticky/root"));
  fflush(stdout);
  if (fork() == 0) {
    setgid(1000);
    setuid(1000);
    Say("unlink", Outcome(unlink(Path("sticky/root").c_str())));
    Say("rename", Outcome(rename(Path("sticky/root").c_str(), Path("sticky/b").c_str())));
    Say("own file", Outcome(Open("sticky/own")));
    fflush(stdout);
    _exit(0);
  }
  wait(nullptr);
}

void Access() {
  mkdir(Path("access").c_str(), 0777);
  chmod(Path("access").c_str(), 0777);
  const int fd = Open("access/closed");
  fchmod(fd, 0600);
  const int group = Open("access/group");
  fchmod(group, 0060);
  fchown(group, 0, 1000);
  const int others = Open("access/others");
  fchmod(others, 0004);
  fflush(stdout);
  if (fork() == 0) {
    setgid(1000);
    setuid(1000);
    Say("closed", Outcome(Open("access/closed", O_RDONLY)));
    Say("group", Outcome(Open("access/group", O_RDWR)));
    Say("others read", Outcome(Open("access/others", O_RDONLY)));
    Say("others write", Outcome(Open("access/others", O_WRONLY)));
    Say("chmod of another's", Outcome(chmod(Path("access/others").c_str(), 0777)));
    Say("chown away", Outcome(chown(Path("access/group").c_str(), 1000, -1U)));
    const int own = Open("access/own");
    struct stat status {};
    fstat(own, &status);
    Say("owner of a new file", std::to_string(status.st_uid) + ":" + std::to_string(status.st_gid));
    fflush(stdout);
    _exit(0);
  }
  wait(nullptr);
}

void SetGroupDirectory() {
  mkdir(Path("setgid").c_str(), 0777);
  chown(Path("setgid").c_str(), 0, 1000);
  chmod(Path("setgid").c_str(), 02777);
  const int fd = Open("setgid/file");
  struct stat status {};
  fstat(fd, &status);
  Say("group of a file", std::to_string(status.st_gid));
  mkdir(Path("setgid/dir").c_str(), 0755);
  stat(Path("setgid/dir").c_str(), &status);
  char text[16];
  snprintf(text, sizeof text, "%o", status.st_mode & 07777);
  Say("directory", text);
}

void Directories() {
  mkdir(Path("directory").c_str(), 0755);
  Say("mkdir again", Outcome(mkdir(Path("directory").c_str(), 0755)));
  for (int i = 0; i < 300; ++i) close(Open("directory/f" + std::to_string(i)));
  DIR* list = opendir(Path("directory").c_str());
  int count = 0;
  int known = 0;
  while (const dirent* entry = readdir(list)) {
    ++count;
    if (entry->d_type != DT_UNKNOWN) ++known;
  }
  Say("entries", std::to_string(count));
  Say("with a type", std::to_string(known));
  rewinddir(list);
  Say("again", readdir(list) != nullptr ? "yes" : "no");
  closedir(list);
  Say("rmdir full", Outcome(rmdir(Path("directory").c_str())));
  Say("unlink a directory", Outcome(unlink(Path("directory").c_str())));
  Say("rmdir a file", Outcome(rmdir(Path("directory/f1").c_str())));
  mkdir(Path("gone").c_str(), 0755);
  chdir(Path("gone").c_str());
  rmdir(Path("gone").c_str());
  Say("create in a removed one", Outcome(open("x", O_CREAT | O_RDWR | O_CLOEXEC, 0600)));
  char name[PATH_MAX];
  Say("getcwd there", getcwd(name, sizeof name) == nullptr ? Outcome(-1) : "ok");
}

void Resolve() {
  close(Open("resolve"));
  symlink("/etc/passwd", Path("resolve-out").c_str());
  const int root = open(FileDirectory().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  auto with = [root](const char* name, uint64_t resolve) {
    const struct {
      uint64_t flags, mode, resolve;
    } how = {O_RDONLY | O_CLOEXEC, 0, resolve};
    return Outcome(syscall(SYS_openat2, root, name, &how, sizeof how));
  };
  Say("beneath", with("resolve", 8));
  Say("beneath, out", with("../etc/passwd", 8));
  Say("beneath, link out", with("resolve-out", 8));
  Say("in root, link out", with("resolve-out", 16));
  Say("no links", with("resolve-out", 4));
  Say("no other mount", with("resolve", 1));
}

void AccessControlList() {
  const std::string path = Path("acl");
  const int fd = Open("acl");
  fchmod(fd, 0644);
  // version 2; owner rw-, user 1000 ---, group r--, mask r--, other r--
  const struct {
    uint16_t tag, permission;
    uint32_t id;
  } entries[] = {{1, 6, -1U}, {2, 0, 1000}, {4, 4, -1U}, {16, 4, -1U}, {32, 4, -1U}};
  std::string value("\2\0\0\0", 4);
  value.append(reinterpret_cast<const char*>(entries), sizeof entries);
  Say("set", Outcome(setxattr(path.c_str(), "system.posix_acl_access", value.data(), value.size(), 0)));
  fflush(stdout);
  if (fork() == 0) {
    setgid(1000);
    setuid(1000);
    Say("user 1000 reads", Outcome(Open("acl", O_RDONLY)));
    fflush(stdout);
    _exit(0);
  }
  wait(nullptr);
}

void SupplementaryGroup() {
  mkdir(Path("shared").c_str(), 0770);
  chown(Path("shared").c_str(), 0, 2000);
  chmod(Path("shared").c_str(), 02770);
  fflush(stdout);
  if (fork() == 0) {
    const gid_t group = 2000;
    SetGroups(1, &group);
    setgid(1000);
    setuid(1000);
    Say("open", Outcome(Open("shared/file")));
    Say("mkdir", Outcome(mkdir(Path("shared/dir").c_str(), 0755)));
    Say("symlink", Outcome(symlink("x", Path("shared/link").c_str())));
    Say("fifo", Outcome(mkfifo(Path("shared/fifo").c_str(), 0600)));
    Say("rename", Outcome(rename(Path("shared/fifo").c_str(), Path("shared/fifo2").c_str())));
    fflush(stdout);
    _exit(0);
  }
  wait(nullptr);
}

}  // namespace

Operations NameOperations() {
  return {{"rename", Rename},
          {"whiteout", Whiteout},
          {"names", Names},
          {"open-flags", OpenFlags},
          {"nodes", Nodes},
          {"unix-socket", UnixSocket},
          {"links", Links},
          {"set-ids", SetIds},
          {"sticky", Sticky},
          {"access", Access},
          {"setgid-directory", SetGroupDirectory},
          {"directories", Directories},
          {"resolve", Resolve},
          {"acl", AccessControlList},
          {"supplementary-group", SupplementaryGroup}};
}

}  // namespace kata::probe
