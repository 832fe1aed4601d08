// SPDX-License-Identifier: Apache-2.0
// What a shell cannot ask the guest's kernel: one system call or socket per word of the command line. Exits with the
// number of words that the kernel refuses, and says of each why. test_guest_kernel.py builds it statically and runs it in the guest.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/dm-ioctl.h>
#include <linux/if_alg.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static long landlock(void) {
  return syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* LANDLOCK_CREATE_RULESET_VERSION */);
}

static long memfd_secret_holds_a_secret(void) {
  const int fd = (int)syscall(SYS_memfd_secret, 0);
  if (fd < 0 || ftruncate(fd, 4096) != 0) return -1;
  char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) return -1;
  page[0] = 'x';
  return 0;
}

static long mempolicy(void) { return syscall(SYS_get_mempolicy, NULL, NULL, 0, NULL, 0); }

static long ldt(void) {
  char table[64];
  return syscall(SYS_modify_ldt, 0, table, sizeof table);
}

static long iopl_off(void) { return syscall(SYS_iopl, 0); }

// A processor without protection keys has none left, one with them gives one; only a kernel without the call has no answer.
static long pkey(void) {
  const long key = syscall(SYS_pkey_alloc, 0, 0);
  return key < 0 && errno == ENOSYS ? -1 : 0;
}

static long merge_pages(void) {
  char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return madvise(page, 4096, MADV_MERGEABLE);
}

static long perf(void) {
  struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .config = PERF_COUNT_SW_TASK_CLOCK};
  return syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static long bpf_kprobe(void) {
  const struct bpf_insn program[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0}, {.code = BPF_JMP | BPF_EXIT}};
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.prog_type = BPF_PROG_TYPE_KPROBE;
  attr.insns = (uintptr_t)program;
  attr.insn_cnt = 2;
  attr.license = (uintptr_t) "GPL";
  return syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
}

// Debian's dmesg_restrict: the log is closed to who has no CAP_SYSLOG. Dropped from this process only.
static long log_is_closed(void) {
  struct { uint32_t version; int pid; } header = {0x20080522, 0};
  uint32_t sets[6];
  if (syscall(SYS_capget, &header, sets) != 0) return -1;
  sets[3] &= ~(1u << (34 - 32));  // CAP_SYSLOG, effective
  sets[0] &= ~(1u << 21);         // CAP_SYS_ADMIN, which the kernel accepts in its place
  if (syscall(SYS_capset, &header, sets) != 0) return -1;
  char buffer[16];
  if (klogctl(3 /* SYSLOG_ACTION_READ_ALL */, buffer, sizeof buffer) >= 0) {
    errno = EEXIST;
    return -1;
  }
  return 0;
}

static long algorithm(const char *type, const char *name) {
  struct sockaddr_alg address = {.salg_family = AF_ALG};
  strcpy((char *)address.salg_type, type);
  strcpy((char *)address.salg_name, name);
  const int fd = socket(AF_ALG, SOCK_SEQPACKET, 0);
  return fd < 0 ? -1 : bind(fd, (struct sockaddr *)&address, sizeof address);
}
static long alg_hash(void) { return algorithm("hash", "sha256"); }
static long alg_xts(void) { return algorithm("skcipher", "xts(aes)"); }

static long audit(void) { return socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT); }
static long xfrm(void) { return socket(AF_NETLINK, SOCK_RAW, NETLINK_XFRM); }
static long pf_key(void) { return socket(AF_KEY, SOCK_RAW, 2 /* PF_KEY_V2 */); }
static long mptcp(void) { return socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP); }
static long sctp(void) { return socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP); }

static long bbr(void) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3);
}

// Set on a socket without a connection: ENOTCONN comes from the protocol, ENOENT from a kernel that does not have it.
static long tls(void) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 3) != 0 && errno != ENOTCONN ? -1 : 0;
}

static long dm_crypt(void) {
  static union { struct dm_ioctl header; char bytes[16384]; } list;
  if (mknod("/tmp/dm", S_IFCHR | 0600, makedev(10, 236)) != 0) return -1;
  const int fd = open("/tmp/dm", O_RDWR);
  list.header.version[0] = DM_VERSION_MAJOR;
  list.header.data_size = sizeof list;
  list.header.data_start = sizeof list.header;
  if (fd < 0 || ioctl(fd, DM_LIST_VERSIONS, &list) != 0) return -1;
  errno = ENOENT;
  return memmem(&list, sizeof list, "crypt", 6) != NULL ? 0 : -1;
}

// The agent's port would be reached through it.
static long no_vsock_loopback(void) {
  const struct sockaddr_vm agent = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_LOCAL, .svm_port = 1024};
  const int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
  return fd >= 0 && connect(fd, (const struct sockaddr *)&agent, sizeof agent) != 0 && errno == ENODEV ? 0 : -1;
}

static const struct { const char *name; long (*ask)(void); } kQuestions[] = {
    {"landlock", landlock}, {"memfd_secret", memfd_secret_holds_a_secret}, {"mempolicy", mempolicy}, {"ldt", ldt},
    {"iopl", iopl_off}, {"pkey", pkey}, {"ksm", merge_pages}, {"perf", perf}, {"bpf_kprobe", bpf_kprobe},
    {"alg_hash", alg_hash}, {"alg_xts", alg_xts}, {"audit", audit}, {"xfrm", xfrm}, {"pf_key", pf_key}, {"mptcp", mptcp},
    {"sctp", sctp}, {"bbr", bbr}, {"tls", tls}, {"dm_crypt", dm_crypt}, {"log_is_closed", log_is_closed},
    {"no_vsock_loopback", no_vsock_loopback},
};

int main(int argc, char **argv) {
  int refused = 0;
  for (int i = 1; i < argc; i++) {
    int found = 0;
    for (size_t k = 0; k < sizeof kQuestions / sizeof kQuestions[0]; k++) {
      if (strcmp(argv[i], kQuestions[k].name) != 0) continue;
      found = 1;
      errno = 0;
      if (kQuestions[k].ask() >= 0) continue;
      printf("%s: %s\n", argv[i], strerror(errno));
      refused++;
    }
    if (!found) {
      printf("%s: no such question\n", argv[i]);
      refused++;
    }
  }
  return refused;
}
