// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/share/virtiofsd_words.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "proto/base/child_process.h"
#include "proto/base/fd.h"
#include "proto/base/sha256.h"
#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

constexpr const char* kVirtiofsdPlaces[] = {"/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/lib/virtiofsd"};
constexpr size_t kHelpMax = 64u << 10;
constexpr std::chrono::seconds kHelpTimeout{10};
constexpr std::chrono::seconds kHelpEndTimeout{2};
constexpr char kQemus[] = "qemu";
constexpr char kRust[] = "rust";
constexpr char kForgets[] = " no-announce-submounts";
constexpr char kHandles[] = " inode-file-handles";
constexpr char kPoolSize[] = "--thread-pool-size";
// trusted.* of the guest, which overlayfs needs for its upper directory, is user.kata.trusted.* on the host: there it
// steers nothing, and the daemon needs no CAP_SYS_ADMIN. The names that this makes are not the containers' to set as
// they are, or anybody could set what only CAP_SYS_ADMIN may.
constexpr char kAttributeNames[] = ":prefix:all:trusted.:user.kata.::bad:client:user.kata.:::ok:all:::";

absl::StatusOr<std::string> ReadOutput(int fd) {
  const auto until = std::chrono::steady_clock::now() + kHelpTimeout;
  std::string text;
  for (;;) {
    const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    pollfd entry{fd, POLLIN, 0};
    const int ready = rest.count() > 0 ? ::poll(&entry, 1, static_cast<int>(rest.count())) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return absl::DeadlineExceededError("no answer");
    char buffer[4096];
    const ssize_t n = ::read(fd, buffer, sizeof(buffer));
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return ErrnoStatus(errno, "reading");
    if (n == 0) return text;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kHelpMax) return absl::ResourceExhaustedError(absl::StrCat("more than ", kHelpMax, " bytes"));
  }
}

absl::StatusOr<std::string> Help(const std::string& program) {
  ASSIGN_OR_RETURN(OutputPipe output, MakeOutputPipe());
  ChildOptions options;
  options.name = "virtiofsd";
  options.words = {program, "--help"};
  options.output = output.write.get();
  options.dies_with_parent = true;
  ASSIGN_OR_RETURN(ChildProcess child, StartChild(options));
  output.write.reset();
  absl::StatusOr<std::string> text = ReadOutput(output.read.get());
  absl::Status ended = EndChild(child, "virtiofsd --help", kHelpEndTimeout);
  if (!text.ok()) return text.status();
  if (!ended.ok()) return ended;
  return text;
}

std::string Written(const VirtiofsdKind& kind) {
  return absl::StrCat(kind.is_rust ? kRust : kQemus, kind.can_forget_mount_points ? kForgets : "",
                      kind.has_file_handles ? kHandles : "", "\n");
}

bool Read(const std::string& text, VirtiofsdKind* kind) {
  kind->is_rust = absl::StartsWith(text, kRust);
  kind->can_forget_mount_points = absl::StrContains(text, kForgets);
  kind->has_file_handles = absl::StrContains(text, kHandles);
  return text == Written(*kind);  // else it was cut off, or is of another version of ours
}

}  // namespace

absl::StatusOr<std::string> FindVirtiofsd() {
  for (const char* place : kVirtiofsdPlaces) {
    if (::access(place, X_OK) == 0) return place;
  }
  return absl::NotFoundError(absl::StrCat("no virtiofsd at ", absl::StrJoin(kVirtiofsdPlaces, ", "),
                                          ": install it, or name it by configuration key \"virtio_fs_daemon\""));
}

absl::StatusOr<VirtiofsdKind> ReadVirtiofsdHelp(const std::string& help) {
  VirtiofsdKind kind;
  kind.is_rust = absl::StrContains(help, "--shared-dir");
  kind.can_forget_mount_points = absl::StrContains(help, "--no-announce-submounts");
  kind.has_file_handles = absl::StrContains(help, "--inode-file-handles");
  if (!kind.is_rust && !absl::StrContains(help, "-o source=")) {
    return absl::FailedPreconditionError(
        "its --help names neither --shared-dir nor -o source=: this is no virtiofsd that the runtime knows; name "
        "another one by "
        "configuration key \"virtio_fs_daemon\"");
  }
  return kind;
}

absl::StatusOr<VirtiofsdKind> ProbeVirtiofsd(const std::string& program, const std::string& cache_dir) {
  struct stat info {};
  if (::stat(program.c_str(), &info) != 0) return ErrnoStatus(errno, "looking at it");
  const std::string version = absl::StrCat(program, "\n", info.st_dev, " ", info.st_ino, " ", info.st_size, " ",
                                           info.st_mtim.tv_sec, ".", info.st_mtim.tv_nsec);
  const std::string path = absl::StrCat(cache_dir, "/virtiofsd-", Sha256Hex(version));
  VirtiofsdKind kind;
  if (!cache_dir.empty()) {
    absl::StatusOr<std::string> kept = ReadFile(path, kHelpMax);
    if (kept.ok() && Read(*kept, &kind)) return kind;
  }
  ASSIGN_OR_RETURN(const std::string help, Help(program));
  ASSIGN_OR_RETURN(kind, ReadVirtiofsdHelp(help));
  if (!cache_dir.empty()) {
    RETURN_IF_ERROR(MakeDirs(cache_dir, 0700));
    RETURN_IF_ERROR(WriteFileAtomically(path, Written(kind), 0600));
  }
  return kind;
}

namespace {

std::vector<std::string> OwnWords(const VirtiofsdKind& kind, const VirtiofsdShare& share) {
  const std::string fd = absl::StrCat("--fd=", share.socket_fd);
  constexpr char kLimitAsGiven[] = "--rlimit-nofile=0";
  if (!kind.is_rust) {
    // With its own "auto" the guest forgets a file's pages whenever it is opened: each start of a program reads the
    // program anew. This is "auto" without that: the guest asks after a second whether the file has changed, and drops
    // its pages if so.
    const std::string cache = share.cache == "auto" ? "cache=always,timeout=1" : absl::StrCat("cache=", share.cache);
    return {fd,
            "-o",
            absl::StrCat("source=", share.directory),
            "-o",
            cache,
            "-o",
            "sandbox=namespace",
            "-o",
            "xattr",
            "-o",
            absl::StrCat("xattrmap=", kAttributeNames),
            "-o",
            "posix_acl",
            "-o",
            "log_level=warn",
            kLimitAsGiven,
            "--thread-pool-size=1"};
  }
  std::vector<std::string> words = {fd,
                                    absl::StrCat("--shared-dir=", share.directory),
                                    absl::StrCat("--cache=", share.cache == "none" ? "never" : share.cache),
                                    "--sandbox=namespace",
                                    "--xattr",
                                    absl::StrCat("--xattrmap=", kAttributeNames),
                                    "--posix-acl",
                                    "--log-level=warn",
                                    kLimitAsGiven};
  // Volumes look as they do with the other one, and as bind mounts do: not each a mount of its own.
  if (kind.can_forget_mount_points) words.push_back("--no-announce-submounts");
  // Handles instead of open files want CAP_DAC_READ_SEARCH, which reaches out of the share: only for who needs them.
  if (kind.has_file_handles && share.is_short_of_files) words.push_back("--inode-file-handles=prefer");
  return words;
}

}  // namespace

std::vector<std::string> VirtiofsdWords(const VirtiofsdKind& kind, const VirtiofsdShare& share) {
  std::vector<std::string> words = OwnWords(kind, share);
  const auto sets_pool = [](const std::string& word) { return absl::StartsWith(word, kPoolSize); };
  // The one in Rust refuses a name that is there twice.
  if (std::any_of(share.extra_arguments.begin(), share.extra_arguments.end(), sets_pool))
    std::erase_if(words, sets_pool);
  words.insert(words.end(), share.extra_arguments.begin(), share.extra_arguments.end());
  return words;
}

}  // namespace kata::virtcontainers
