// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/state/checked_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include <absl/strings/str_cat.h>
#include <xxhash.h>

#include "proto/base/status.h"

namespace kata::hypervisors {
namespace {

constexpr char kMagic[8] = {'k', 'a', 't', 'a', 'm', '0', '1', '\n'};
constexpr size_t kBuffer = 256u << 10;

struct Header {
  char magic[8];
  uint64_t size;
  uint64_t digest;
};
static_assert(sizeof(Header) == kCheckedHeader);

absl::StatusOr<uint64_t> Digest(int fd, uint64_t size, const std::string& path) {
  std::vector<char> buffer(kBuffer);
  XXH3_state_t* const state = XXH3_createState();
  if (state == nullptr) return absl::ResourceExhaustedError("no memory");
  XXH3_64bits_reset(state);
  absl::Status status;
  for (uint64_t done = 0; status.ok() && done < size;) {
    const ssize_t n = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(kCheckedHeader + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) status = ErrnoStatus(errno, absl::StrCat("reading \"", path, "\""));
    if (n == 0) status = Damaged(path);
    if (n <= 0) break;
    XXH3_64bits_update(state, buffer.data(), static_cast<size_t>(n));
    done += static_cast<uint64_t>(n);
  }
  const uint64_t digest = XXH3_64bits_digest(state);
  XXH3_freeState(state);
  if (!status.ok()) return status;
  return digest;
}

}  // namespace

absl::Status Damaged(const std::string& path) {
  return absl::DataLossError(absl::StrCat("\"", path, "\" is not what was written: damaged, or cut short"));
}

absl::StatusOr<UniqueFd> CreateChecked(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid() || ::lseek(fd.get(), static_cast<off_t>(kCheckedHeader), SEEK_SET) < 0)
    return ErrnoStatus(errno, absl::StrCat("creating \"", path, "\""));
  return fd;
}

absl::Status SealChecked(int fd, const std::string& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return ErrnoStatus(errno, absl::StrCat("looking at \"", path, "\""));
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  const auto end = static_cast<uint64_t>(info.st_size);
  header.size = end > kCheckedHeader ? end - kCheckedHeader : 0;
  ASSIGN_OR_RETURN(header.digest, Digest(fd, header.size, path));
  // The payload first: a header stands for what is on the disk.
  if (::fdatasync(fd) != 0 || ::pwrite(fd, &header, sizeof(header), 0) != static_cast<ssize_t>(sizeof(header)) ||
      ::fdatasync(fd) != 0) {
    return ErrnoStatus(errno, absl::StrCat("writing \"", path, "\""));
  }
  return absl::OkStatus();
}

absl::StatusOr<CheckedFile> OpenChecked(const std::string& path) {
  CheckedFile file;
  file.fd.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat info {};
  if (!file.fd.valid() || ::fstat(file.fd.get(), &info) != 0)
    return ErrnoStatus(errno, absl::StrCat("opening \"", path, "\""));
  Header header{};
  if (::read(file.fd.get(), &header, sizeof(header)) != static_cast<ssize_t>(sizeof(header)) ||
      std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0 || !S_ISREG(info.st_mode) ||
      static_cast<uint64_t>(info.st_size) != kCheckedHeader + header.size) {
    return Damaged(path);
  }
  file.size = header.size;
  file.digest = header.digest;
  return file;
}

absl::Status CheckPayload(const CheckedFile& file, const std::string& path) {
  if (file.size > kCheckedPayloadMax) return Damaged(path);
  ASSIGN_OR_RETURN(const uint64_t digest, Digest(file.fd.get(), file.size, path));
  return digest == file.digest ? absl::OkStatus() : Damaged(path);
}

}  // namespace kata::hypervisors
