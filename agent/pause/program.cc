// SPDX-License-Identifier: Apache-2.0
// The one process of a sandbox container: reaps what is orphaned in its pid namespace, and ends of SIGTERM and SIGINT
// with 0. Who executes it has blocked these signals, so that none is lost before it waits.
//
// Without a C library: some hundred bytes of code. It stays as long as the pod, in each pod's memory.
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>

namespace {

constexpr long kInterrupted = -4;  // -EINTR

constexpr uint64_t Bit(int signal) { return uint64_t{1} << (signal - 1); }

#if defined(__x86_64__)
long Call(long number, long a, long b, long c, long d) {
  long result = 0;
  register long fourth __asm__("r10") = d;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
                   : "rcx", "r11", "memory");
  return result;
}
__asm__(
    ".globl _start\n"
    "_start:\n"
    "  xor %ebp, %ebp\n"
    "  and $-16, %rsp\n"
    "  call Pause\n");
#elif defined(__aarch64__)
long Call(long number, long a, long b, long c, long d) {
  register long result __asm__("x0") = a;
  register long second __asm__("x1") = b;
  register long third __asm__("x2") = c;
  register long fourth __asm__("x3") = d;
  register long call __asm__("x8") = number;
  __asm__ volatile("svc 0" : "+r"(result) : "r"(second), "r"(third), "r"(fourth), "r"(call) : "memory");
  return result;
}
__asm__(
    ".globl _start\n"
    "_start:\n"
    "  bl Pause\n");
#else
#error "say here how this processor makes a system call"
#endif

[[noreturn]] void Exit(int status) {
  for (;;) Call(SYS_exit_group, status, 0, 0, 0);
}

}  // namespace

extern "C" [[noreturn]] void Pause() {
  const uint64_t signals = Bit(SIGINT) | Bit(SIGTERM) | Bit(SIGCHLD);
  for (;;) {
    const long signal = Call(SYS_rt_sigtimedwait, reinterpret_cast<long>(&signals), 0, 0, sizeof(signals));
    if (signal == SIGINT || signal == SIGTERM) Exit(0);
    if (signal == SIGCHLD) {
      while (Call(SYS_wait4, -1, 0, WNOHANG, 0) > 0) {
      }
    } else if (signal != kInterrupted) {
      Exit(1);  // a seccomp profile without it; else this would turn for ever
    }
  }
}
