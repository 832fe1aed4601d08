// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/state/memory_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include <absl/strings/str_cat.h>
#include <xxhash.h>

#include "hypervisors/state/checked_file.h"
#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::hypervisors {
namespace {

constexpr uint64_t kPage = 4096;
constexpr size_t kBuffer = 256u << 10;
constexpr uint64_t kRunsMax = 1u << 20;

// The payload: Begin, `runs` of Run, then their bytes.
struct Begin {
  uint64_t memory_size;
  uint64_t runs;
};
struct Run {
  uint64_t offset;  // in the memory; page by page, growing
  uint64_t size;
};

class Mapping {
 public:
  Mapping(int fd, uint64_t size) : size_(size) {
    void* const at = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) data_ = static_cast<const char*>(at);
  }
  ~Mapping() {
    if (data_ != nullptr) ::munmap(const_cast<char*>(data_), size_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  const char* data() const { return data_; }

 private:
  const char* data_ = nullptr;
  uint64_t size_;
};

bool IsZero(const char* page) {
  static const char zeros[kPage] = {};
  return std::memcmp(page, zeros, kPage) == 0;
}

// The runs of pages that hold something; holes are not read, which would make pages of them.
absl::StatusOr<std::vector<Run>> UsedRuns(int memory, const char* data, uint64_t size) {
  std::vector<Run> runs;
  for (off_t at = 0; static_cast<uint64_t>(at) < size;) {
    const off_t begin = ::lseek(memory, at, SEEK_DATA);
    if (begin < 0 && errno == ENXIO) break;  // nothing but a hole up to the end
    const off_t end = begin < 0 ? -1 : ::lseek(memory, begin, SEEK_HOLE);
    if (end < 0) return ErrnoStatus(errno, "looking for the memory's pages");
    for (auto page = static_cast<uint64_t>(begin); page < std::min(static_cast<uint64_t>(end), size); page += kPage) {
      if (IsZero(data + page)) continue;
      if (!runs.empty() && runs.back().offset + runs.back().size == page) {
        runs.back().size += kPage;
      } else {
        runs.push_back({page, kPage});
      }
    }
    at = end;
  }
  if (runs.size() > kRunsMax) return absl::ResourceExhaustedError("the memory is in too many pieces");
  return runs;
}

// Reads what the header's digest is of, and sums it up.
class Reader {
 public:
  Reader(const CheckedFile& file, const std::string& path)
      : file_(file), path_(path), state_(XXH3_createState()), left_(file.size) {
    XXH3_64bits_reset(state_);
  }
  ~Reader() { XXH3_freeState(state_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  absl::Status Read(void* to, uint64_t size) {
    if (size > left_) return Damaged(path_);
    auto* at = static_cast<char*>(to);
    for (uint64_t done = 0; done < size;) {
      const ssize_t n = ::read(file_.fd.get(), at + done, size - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno, absl::StrCat("reading \"", path_, "\""));
      if (n == 0) return Damaged(path_);
      done += static_cast<uint64_t>(n);
    }
    left_ -= size;
    XXH3_64bits_update(state_, to, size);
    return absl::OkStatus();
  }
  absl::Status End() const {
    return left_ == 0 && XXH3_64bits_digest(state_) == file_.digest ? absl::OkStatus() : Damaged(path_);
  }

 private:
  const CheckedFile& file_;
  const std::string& path_;
  XXH3_state_t* state_;
  uint64_t left_;
};

absl::Status WriteAt(int fd, const char* data, uint64_t size, uint64_t offset) {
  for (uint64_t done = 0; done < size;) {
    const ssize_t n = ::pwrite(fd, data + done, size - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return ErrnoStatus(n < 0 ? errno : ENOSPC, "filling the machine's memory");
    done += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Run>> ReadRuns(Reader& reader, uint64_t memory_size, const std::string& path) {
  Begin begin{};
  RETURN_IF_ERROR(reader.Read(&begin, sizeof(begin)));
  if (begin.memory_size != memory_size) {
    return absl::FailedPreconditionError(
        absl::StrCat("\"", path, "\" is of a machine of ", begin.memory_size, " bytes, not of ", memory_size));
  }
  if (begin.runs > kRunsMax) return Damaged(path);
  std::vector<Run> runs(begin.runs);
  RETURN_IF_ERROR(reader.Read(runs.data(), runs.size() * sizeof(Run)));
  uint64_t end = 0;
  for (const Run& run : runs) {
    const bool is_good = run.offset % kPage == 0 && run.size % kPage == 0 && run.offset >= end &&
                         run.offset <= memory_size && run.size <= memory_size - run.offset;
    if (!is_good) return Damaged(path);
    end = run.offset + run.size;
  }
  return runs;
}

}  // namespace

absl::Status SaveMemory(int memory, uint64_t size, const std::string& path) {
  const Mapping mapping(memory, size);
  if (mapping.data() == nullptr) return ErrnoStatus(errno, "mapping the machine's memory");
  ASSIGN_OR_RETURN(const std::vector<Run> runs, UsedRuns(memory, mapping.data(), size));
  ASSIGN_OR_RETURN(const UniqueFd file, CreateChecked(path));
  const Begin begin{size, runs.size()};
  absl::Status status = WriteAll(file.get(), {reinterpret_cast<const char*>(&begin), sizeof(begin)});
  status.Update(WriteAll(file.get(), {reinterpret_cast<const char*>(runs.data()), runs.size() * sizeof(Run)}));
  for (const Run& run : runs) {
    if (!status.ok()) break;
    status = WriteAll(file.get(), {mapping.data() + run.offset, run.size});
  }
  if (!status.ok()) return Annotate(status, absl::StrCat("writing \"", path, "\""));
  return SealChecked(file.get(), path);
}

absl::Status LoadMemory(const std::string& path, int memory, uint64_t size) {
  ASSIGN_OR_RETURN(const CheckedFile file, OpenChecked(path));
  Reader reader(file, path);
  ASSIGN_OR_RETURN(const std::vector<Run> runs, ReadRuns(reader, size, path));
  // Piece by piece: it is hot in the processor's cache for the digest and for the copy.
  std::vector<char> buffer(kBuffer);
  for (const Run& run : runs) {
    for (uint64_t done = 0; done < run.size;) {
      const uint64_t piece = std::min<uint64_t>(buffer.size(), run.size - done);
      RETURN_IF_ERROR(reader.Read(buffer.data(), piece));
      RETURN_IF_ERROR(WriteAt(memory, buffer.data(), piece, run.offset + done));
      done += piece;
    }
  }
  return reader.End();
}

}  // namespace kata::hypervisors
