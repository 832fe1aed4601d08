// SPDX-License-Identifier: Apache-2.0
#include "agent/stdio/terminal.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include <cerrno>

#include "agent/base/errors.h"

namespace kata::agent {

absl::Status SetTerminalSize(int master, unsigned width, unsigned height) {
  winsize size{};
  size.ws_col = static_cast<unsigned short>(width);
  size.ws_row = static_cast<unsigned short>(height);
  if (::ioctl(master, TIOCSWINSZ, &size) != 0) return SystemError(errno, "resizing the terminal");
  return absl::OkStatus();
}

absl::StatusOr<Terminal> OpenTerminal(unsigned width, unsigned height) {
  Terminal out;
  out.master.reset(::open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC));
  if (!out.master.valid()) return SystemError(errno, "opening \"/dev/pts/ptmx\"");
  struct statfs info {};
  if (::fstatfs(out.master.get(), &info) != 0 || info.f_type != DEVPTS_SUPER_MAGIC) {
    return absl::InvalidArgumentError("opening \"/dev/pts/ptmx\": not a devpts file system");
  }
  int unlock = 0;
  unsigned number = 0;
  if (::ioctl(out.master.get(), TIOCSPTLCK, &unlock) != 0 || ::ioctl(out.master.get(), TIOCGPTN, &number) != 0) {
    return SystemError(errno, "unlocking the terminal");
  }
  out.slave.reset(::ioctl(out.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!out.slave.valid()) return SystemError(errno, "opening the terminal's slave");
  out.slave_path = absl::StrCat("/dev/pts/", number);
  if (width != 0 || height != 0) RETURN_IF_ERROR(SetTerminalSize(out.master.get(), width, height));
  return out;
}

}  // namespace kata::agent
