// SPDX-License-Identifier: Apache-2.0
#include "posix/probe.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace kata::posix {
namespace {

constexpr int kChildMilliseconds = 60'000;
std::string prefix;

void DropCapabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2]{};
  if (::syscall(SYS_capset, &header, none) != 0) ::_exit(98);
}

void Become(const Who& who) {
  if (::setgroups(who.groups.size(), who.groups.data()) != 0) ::_exit(99);
  if (::setresgid(who.gid, who.gid, who.gid) != 0) ::_exit(99);
  if (::setresuid(who.uid, who.uid, who.uid) != 0) ::_exit(99);
  if (who.drops_capabilities) DropCapabilities();
}

}  // namespace

void Report(const std::string& name, const std::string& result) {
  std::printf("%s.%s %s\n", prefix.c_str(), name.c_str(), result.c_str());
}

std::string ErrnoName(int error) {
  const char* name = ::strerrorname_np(error);
  return name != nullptr ? name : std::to_string(error);
}

std::string Errno(long result) { return result < 0 ? ErrnoName(errno) : "ok"; }

std::string Mode(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return ErrnoName(errno);
  char text[8];
  std::snprintf(text, sizeof(text), "%04o", info.st_mode & 07777u);
  return text;
}

std::string Describe(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return ErrnoName(errno);
  const char* kind = S_ISDIR(info.st_mode)    ? "directory"
                     : S_ISREG(info.st_mode)  ? "file"
                     : S_ISLNK(info.st_mode)  ? "link"
                     : S_ISFIFO(info.st_mode) ? "fifo"
                     : S_ISSOCK(info.st_mode) ? "socket"
                     : S_ISCHR(info.st_mode)  ? "char"
                                              : "block";
  char text[96];
  std::snprintf(text, sizeof(text), "%s %04o %u:%u", kind, info.st_mode & 07777u, info.st_uid, info.st_gid);
  std::string out = text;
  if (!S_ISDIR(info.st_mode)) out += " links=" + std::to_string(info.st_nlink);
  return out;
}

std::string As(const Who& who, const std::function<std::string()>& work) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return "no pipe";
  std::fflush(stdout);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(ends[0]);
    Become(who);
    const std::string out = work();
    if (::write(ends[1], out.data(), out.size()) < 0) ::_exit(97);
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string out;
  char buffer[4096];
  pollfd entry{ends[0], POLLIN, 0};
  bool is_late = false;
  for (;;) {
    if (::poll(&entry, 1, kChildMilliseconds) != 1) {
      is_late = true;
      break;
    }
    const ssize_t count = ::read(ends[0], buffer, sizeof(buffer));
    if (count <= 0) break;
    out.append(buffer, static_cast<size_t>(count));
  }
  ::close(ends[0]);
  if (is_late) ::kill(pid, SIGKILL);
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (is_late) return "late";
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  if (WEXITSTATUS(status) != 0) return "exit " + std::to_string(WEXITSTATUS(status));
  return out;
}

void Make(const std::string& path, mode_t mode, uid_t uid, gid_t gid, const std::string& content) {
  const int fd = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  const bool is_written =
      fd >= 0 && ::write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size());
  // The mode last: a change of owner takes set-ID bits away.
  if (!is_written || ::fchown(fd, uid, gid) != 0 || ::fchmod(fd, mode) != 0) Report("make." + path, Errno(-1));
  if (fd >= 0) ::close(fd);
}

void MakeDirectory(const std::string& path, mode_t mode, uid_t uid, gid_t gid) {
  if (::mkdir(path.c_str(), 0700) != 0 || ::chown(path.c_str(), uid, gid) != 0 || ::chmod(path.c_str(), mode) != 0)
    Report("make." + path, Errno(-1));
}

std::string Content(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Errno(fd);
  char buffer[256];
  const ssize_t count = ::read(fd, buffer, sizeof(buffer));
  ::close(fd);
  return count < 0 ? Errno(count) : "\"" + std::string(buffer, static_cast<size_t>(count)) + "\"";
}

}  // namespace kata::posix

int main(int argc, char** argv) {
  using namespace kata::posix;
  struct Topic {
    const char* name;
    void (*run)();
    bool is_long = false;
  };
  static constexpr Topic kTopics[] = {{"permissions", Permissions},
                                      {"creation", Creation},
                                      {"acl", Acls},
                                      {"set-id", SetIdBits},
                                      {"ownership", Ownership},
                                      {"names", Names},
                                      {"xattr", Attributes},
                                      {"special", SpecialFiles},
                                      {"data", Data},
                                      {"locks", Locks},
                                      {"times", Times},
                                      {"many", Many, true}};
  if (argc < 2) {
    std::fprintf(stderr,
                 "usage: posix_probe DIRECTORY [TOPIC]...\n"
                 "       posix_probe --lock FILE | --hold FILE   (once, or until it is killed)\n");
    return 2;
  }
  const std::string first = argv[1];
  if (argc == 3 && (first == "--lock" || first == "--hold")) {
    std::printf("%s\n", TryLocks(argv[2]).c_str());
    std::fflush(stdout);
    while (first == "--hold") ::pause();
    return 0;
  }
  char root[PATH_MAX];
  if (::realpath(argv[1], root) == nullptr) {
    std::fprintf(stderr, "posix_probe: %s: %s\n", argv[1], strerror(errno));
    return 1;
  }
  ::umask(0);
  for (const Topic& topic : kTopics) {
    bool is_wanted = argc == 2 && !topic.is_long;
    for (int i = 2; i < argc; ++i) is_wanted = is_wanted || std::string(argv[i]) == topic.name;
    if (!is_wanted) continue;
    prefix = topic.name;
    const std::string directory = std::string(root) + "/" + topic.name;
    if (::mkdir(directory.c_str(), 0777) != 0 || ::chdir(directory.c_str()) != 0) {
      std::fprintf(stderr, "posix_probe: %s: %s\n", directory.c_str(), strerror(errno));
      return 1;
    }
    topic.run();
  }
  std::printf("end ok\n");
  return 0;
}
