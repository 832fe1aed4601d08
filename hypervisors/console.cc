// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/console.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <utility>

#include <boost/asio/buffer.hpp>

#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::hypervisors {

void ConsoleRing::Append(std::string_view data) {
  data_.append(data);
  if (data_.size() > 2 * kConsoleRing) data_.erase(0, data_.size() - kConsoleRing);
}

std::string ConsoleRing::Tail(size_t size_max) const {
  size_t begin = data_.size() - std::min({data_.size(), size_max, kConsoleRing});
  if (begin > 0) {
    const size_t line = data_.find('\n', begin - 1);
    if (line != std::string::npos && line + 1 < data_.size()) begin = line + 1;
  }
  std::string tail;
  for (char c : data_.substr(begin)) {
    if ((c >= ' ' && c <= '~') || c == '\n' || c == '\t') tail.push_back(c);
  }
  return tail;
}

absl::Status Console::Open(const std::string& path, uid_t uid, gid_t gid) {
  unlink(path.c_str());
  if (mkfifo(path.c_str(), 0600) != 0) return ErrnoStatus(errno, absl::StrCat("make fifo \"", path, "\""));
  if (chown(path.c_str(), uid, gid) != 0) return ErrnoStatus(errno, absl::StrCat("give away fifo \"", path, "\""));
  // Both ends are held: no end of file before the writer has come, and the writer's open does not block.
  UniqueFd fd(open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("open fifo \"", path, "\""));
  boost::system::error_code ec;
  fifo_.assign(fd.get(), ec);
  if (ec) return FromErrorCode(ec, "watch the console");
  fd.release();
  ReadNext();
  return absl::OkStatus();
}

void Console::Close() {
  boost::system::error_code ignored;
  fifo_.close(ignored);
}

std::string Console::Tail(size_t size_max) {
  // Bounded: the guest may write as fast as it is read.
  std::array<char, 4096> chunk;
  for (int i = 0; fifo_.is_open() && i < 16; ++i) {
    const ssize_t size = read(fifo_.native_handle(), chunk.data(), chunk.size());
    if (size <= 0) break;
    Take(std::string_view(chunk.data(), static_cast<size_t>(size)));
  }
  return ring_.Tail(size_max);
}

void Console::Take(std::string_view data) {
  ring_.Append(data);
  log_.Append(data);
}

void Console::ReadNext() {
  // Not a lambda as it is: Asio keeps the name of a handler's type as text, and a lambda's has the path of this file.
  std::function<void(boost::system::error_code, size_t)> take = [weak = weak_from_this()](boost::system::error_code ec,
                                                                                          size_t size) {
    std::shared_ptr<Console> self = weak.lock();
    if (ec || self == nullptr) return;
    self->Take(std::string_view(self->chunk_.data(), size));
    self->ReadNext();
  };
  fifo_.async_read_some(asio::buffer(chunk_), std::move(take));
}

}  // namespace kata::hypervisors
