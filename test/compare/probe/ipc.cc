// SPDX-License-Identifier: Apache-2.0
// Sockets, System V and POSIX objects, tracing, file systems.
#include <fcntl.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "test/compare/probe/probe.h"

namespace kata::probe {
namespace {

void Sockets(const Arguments&) {
  const std::vector<std::tuple<std::string, int, int, int>> kinds = {
      {"unix", AF_UNIX, SOCK_STREAM, 0},           {"inet stream", AF_INET, SOCK_STREAM, 0},
      {"inet6 stream", AF_INET6, SOCK_STREAM, 0},  {"inet raw", AF_INET, SOCK_RAW, IPPROTO_ICMP},
      {"ping", AF_INET, SOCK_DGRAM, IPPROTO_ICMP}, {"packet", AF_PACKET, SOCK_RAW, 0},
      {"netlink route", AF_NETLINK, SOCK_RAW, 0},  {"netlink audit", AF_NETLINK, SOCK_RAW, 9}};
  for (const auto& [name, family, type, protocol] : kinds) {
    const int fd = socket(family, type, protocol);
    Say(name, Outcome(fd));
    if (fd >= 0) close(fd);
  }
}

void Ipc(const Arguments&) {
  const int memory = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
  Say("shared memory", Outcome(memory));
  void* mapped = shmat(memory, nullptr, 0);
  Say("attached", mapped == reinterpret_cast<void*>(-1) ? Outcome(-1) : "ok");
  shmctl(memory, IPC_RMID, nullptr);
  const int semaphore = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
  Say("semaphore", Outcome(semaphore));
  semctl(semaphore, 0, IPC_RMID);
  const mqd_t queue = mq_open("/probe", O_CREAT | O_RDWR | O_CLOEXEC, 0600, nullptr);
  Say("message queue", Outcome(queue));
  struct stat status {};
  Say("seen in /dev/mqueue", Outcome(stat("/dev/mqueue/probe", &status)));
  mq_unlink("/probe");
  const int shared = shm_open("/probe", O_CREAT | O_RDWR, 0600);
  Say("posix shared memory", Outcome(shared));
  Say("seen in /dev/shm", Outcome(stat("/dev/shm/probe", &status)));
  shm_unlink("/probe");
}

void Ptrace(const Arguments&) {
  const pid_t child = fork();
  if (child == 0) {
    const long result = ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    Say("traced", Outcome(result));
    fflush(stdout);
    raise(SIGSTOP);
    _exit(3);
  }
  int status = 0;
  waitpid(child, &status, WUNTRACED);
  Say("stopped", WIFSTOPPED(status) ? "yes" : "no");
  Say("went on", Outcome(ptrace(PTRACE_CONT, child, nullptr, nullptr)));
  waitpid(child, &status, 0);
  Say("exit", std::to_string(WEXITSTATUS(status)));
}

void FileSystem(const Arguments& paths) {
  for (const std::string& path : paths) {
    struct statfs info {};
    if (statfs(path.c_str(), &info) != 0) {
      Say(path, Outcome(-1));
      continue;
    }
    static const std::map<long, std::string> kFlags = {
        {ST_RDONLY, "ro"}, {ST_NOSUID, "nosuid"}, {ST_NODEV, "nodev"}, {ST_NOEXEC, "noexec"}};
    std::string line;
    for (const auto& [flag, name] : kFlags) {
      if ((info.f_flags & flag) != 0) line += " " + name;
    }
    Say(path, "longest name " + std::to_string(info.f_namelen) + line);
  }
}

}  // namespace

Subjects IpcSubjects() { return {{"sockets", Sockets}, {"ipc", Ipc}, {"ptrace", Ptrace}, {"file-system", FileSystem}}; }

}  // namespace kata::probe
