// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/share/shared_directory.h"

#include "virtcontainers/paths.h"

#include <sys/statvfs.h>

#include <filesystem>

#include "proto/base/fd.h"
#include "proto/base/status.h"
#include "virtcontainers/sandbox.h"
#include "virtcontainers/share/mounts.h"
#include "virtcontainers/share/share_namespace.h"
#include "virtcontainers/test/apart.h"

namespace kata::virtcontainers {
namespace {

constexpr char kId[] = "s";

std::string Text(const std::string& path) { return ReadFile(path, 100).value_or("missing"); }
bool Write(const std::string& path) { return WriteFileAtomically(path, "x", 0644).ok(); }
bool MountTmpfs(const std::string& path) {
  return MakeDirs(path, 0755).ok() && ::mount("none", path.c_str(), "tmpfs", 0, nullptr) == 0;
}
std::string Message(const absl::Status& status) { return std::string(status.message()); }

// A share, with /run/data in it. /run/data has a file and a mount with a file, /run/data/sub.
struct Share {
  std::shared_ptr<const ShareNamespace> space;
  std::string place = ContainerHostPath(kId, "c") + "/mounts/0";
  std::string seen = ExportedDirectory(kId) + "/c/mounts/0";

  absl::Status Make() {
    auto made = ShareNamespace::Make();
    if (!made.ok()) return made.status();
    space = *made;
    if (!MountTmpfs("/run/data/sub") || !Write("/run/data/sub/file") ||
        !WriteFileAtomically("/run/data/file", "text", 0644).ok()) {
      return absl::InternalError("no data");
    }
    return space->Run([] { return MakeSharedDirectory(kId, 0); });
  }
  absl::Status Export(const ExportOptions& options) {
    ASSIGN_OR_RETURN(const UniqueFd mount, CopyMount("/run/data", options.is_recursive));
    RETURN_IF_ERROR(ProtectMount(mount.get(), options));
    return space->Run([&] { return AttachMount(mount.get(), place); });
  }
  // What `check` finds wrong in the namespace.
  std::string In(const std::function<std::string()>& check) {
    std::string problem;
    const absl::Status run = space->Run([&check, &problem] {
      problem = check();
      return absl::OkStatus();
    });
    return run.ok() ? problem : Message(run);
  }
};

// As virtiofsd: a namespace of its own, copied from the share's before the mounts are made.
std::string CheckPropagation() {
  Share share;
  if (absl::Status made = share.Make(); !made.ok()) return Message(made);
  int to_child[2], to_parent[2];
  if (::pipe(to_child) != 0 || ::pipe(to_parent) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    char byte = 0;
    // A sanitizer has a thread of its own here, with which the working directory is shared.
    const bool is_ready = ::unshare(CLONE_FS) == 0 && ::setns(share.space->fd(), CLONE_NEWNS) == 0 &&
                          ::unshare(CLONE_NEWNS) == 0 &&
                          ::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0;
    if (!is_ready || ::write(to_parent[1], "r", 1) != 1 || ::read(to_child[0], &byte, 1) != 1) ::_exit(1);
    ::_exit(Text(share.seen + "/file") == "text" ? 0 : 2);
  }
  ::close(to_parent[1]);  // a child that fails ends what is read
  char byte = 0;
  if (::read(to_parent[0], &byte, 1) != 1) return "no child";
  if (absl::Status made = share.Export({}); !made.ok()) return Message(made);
  if (::write(to_child[1], "g", 1) != 1) return "no child";
  int result = 0;
  ::waitpid(child, &result, 0);
  if (result != 0) return "a later mount does not reach another namespace";
  const std::string problem = share.In([&share]() -> std::string {
    if (Text(share.seen + "/file") != "text") return "a later mount does not reach the export";
    if (MakeDirs(ExportedDirectory(kId) + "/new", 0755).ok()) return "the export itself is writable";
    // A mount below the share must not reach the source's place.
    if (!MountTmpfs(share.place + "/sub/more") || !Write(share.place + "/sub/more/inner")) return "no inner mount";
    return "";
  });
  if (!problem.empty()) return problem;
  if (std::filesystem::exists("/run/data/sub/more/inner")) return "a mount reaches back to the host";
  return "";
}

// The host has an empty directory only, which can be removed whatever is mounted in the namespace.
std::string CheckHost() {
  Share share;
  if (absl::Status made = share.Make(); !made.ok()) return Message(made);
  if (absl::Status made = share.Export({}); !made.ok()) return Message(made);
  auto mounts = Mounts();
  if (!mounts.ok()) return "no mounts";
  for (const MountEntry& mount : *mounts) {
    if (mount.place.find(SharedDirectory(kId)) != std::string::npos) return "the host has " + mount.place;
  }
  if (!std::filesystem::is_empty(SharedDirectory(kId))) return "it is not empty on the host";
  // The source's mount can go as well, and its directory.
  if (::umount("/run/data/sub") != 0 || ::rmdir("/run/data/sub") != 0) return "a mount of the host cannot go";
  if (absl::Status removed = RemoveSharedDirectory(kId); !removed.ok()) return Message(removed);
  if (std::filesystem::exists(SharedDirectory(kId))) return "the share is left";
  if (Text("/run/data/file") != "text") return "the user's file is gone";
  return RemoveSharedDirectory(kId).ok() ? "" : "not idempotent";
}

std::string CheckProtection(const ExportOptions& options, bool is_top_writable, bool is_sub_writable) {
  Share share;
  if (absl::Status made = share.Make(); !made.ok()) return Message(made);
  if (absl::Status made = share.Export(options); !made.ok()) return Message(made);
  return share.In([&]() -> std::string {
    for (const std::string& path : {share.seen, share.seen + "/sub"}) {
      struct statvfs info {};
      if (::statvfs(path.c_str(), &info) != 0) return "no " + path;
      constexpr unsigned long kWanted = ST_NOSUID | ST_NODEV;
      if ((info.f_flag & kWanted) != kWanted) return path + " has set-user-ID programs or devices";
    }
    if (Write(share.seen + "/new") != is_top_writable) return "wrong at the top";
    if (options.is_recursive && Write(share.seen + "/sub/new") != is_sub_writable) return "wrong below";
    const bool has_sub = std::filesystem::exists(share.seen + "/sub/file");
    if (has_sub != options.is_recursive) return "a mount below the source is seen, or is not, against the options";
    return "";
  });
}
std::string CheckReadWrite() { return CheckProtection({}, true, true); }
std::string CheckTopReadOnly() { return CheckProtection({.read_only = ReadOnly::kTop}, false, true); }
std::string CheckAllReadOnly() { return CheckProtection({.read_only = ReadOnly::kAll}, false, false); }
std::string CheckNotRecursive() { return CheckProtection({.is_recursive = false}, true, false); }

std::string CheckWritableMounts() {
  for (const char* path : {"/run/data/sub/deeper", "/run/data/read-only", "/run/data/read-only/inner",
                           "/run/data/hidden/inner", "/run/data/sub2"}) {
    if (!MountTmpfs(path)) return "no mount";
  }
  Share share;
  if (absl::Status made = share.Make(); !made.ok()) return Message(made);
  constexpr unsigned long kReadOnly = MS_REMOUNT | MS_BIND | MS_RDONLY;
  if (::mount(nullptr, "/run/data/read-only", nullptr, kReadOnly, nullptr) != 0) return "no remount";
  if (!MountTmpfs("/run/data/hidden")) return "no cover";
  if (absl::Status made = share.Export({.read_only = ReadOnly::kTop}); !made.ok()) return Message(made);
  return share.In([&share]() -> std::string {
    auto below = WritableMountsBelow(share.place);
    if (!below.ok()) return Message(below.status());
    const std::vector<std::string> wanted = {"hidden", "read-only/inner", "sub", "sub2"};
    if (*below == wanted) return "";
    std::string text = "found:";
    for (const std::string& path : *below) text += " " + path;
    return text;
  });
}

// Where the host's mounts do not propagate, a copy of them would keep file systems busy.
std::string CheckKeepOnly() {
  if (!MountTmpfs("/run/other/inner")) return "no mount";
  Share share;
  if (absl::Status made = share.Make(); !made.ok()) return Message(made);
  if (absl::Status made = share.Export({}); !made.ok()) return Message(made);
  if (absl::Status kept = share.space->KeepOnly(SharedDirectory(kId)); !kept.ok()) return Message(kept);
  const std::string problem = share.In([&share]() -> std::string {
    auto mounts = Mounts();
    if (!mounts.ok()) return "no mounts";
    // What the test's own /run covers cannot be reached by a path.
    for (const MountEntry& mount : *mounts) {
      for (const char* gone : {"/run/other", "/run/data", "/sys", "/dev"}) {
        if (mount.place == gone || mount.place.find(std::string(gone) + "/") == 0) return "it keeps " + mount.place;
      }
    }
    return Text(share.seen + "/file") == "text" ? "" : "the share is gone";
  });
  if (!problem.empty()) return problem;
  return std::filesystem::exists("/run/other/inner") ? "" : "the host's own mount is gone";
}

std::string CheckRemoveTree() {
  if (!MakeDirs("/run/a/b/mounted", 0755).ok() || !MakeDirs("/run/keep", 0755).ok()) return "no directory";
  if (!WriteFileAtomically("/run/keep/file", "text", 0644).ok()) return "no file";
  if (::symlink("/run/keep", "/run/a/link") != 0) return "no link";
  if (::mount("/run/keep", "/run/a/b/mounted", nullptr, MS_BIND, nullptr) != 0) return "no mount";
  if (RemoveTree("/run/a").ok()) return "a mount was entered";
  if (Text("/run/keep/file") != "text") return "the file behind a mount or link is gone";
  if (!UnmountBelow("/run/a").ok() || !RemoveTree("/run/a").ok()) return "not removed";
  if (Text("/run/keep/file") != "text") return "the file behind the link is gone";
  return std::filesystem::exists("/run/a") ? "it is left" : "";
}

TEST(SharedDirectory, LaterMountsReachTheExportAndOtherNamespaces) { RunApart(CheckPropagation); }
TEST(SharedDirectory, TheHostHasAnEmptyDirectory) { RunApart(CheckHost); }
TEST(SharedDirectory, ReadWrite) { RunApart(CheckReadWrite); }
TEST(SharedDirectory, ReadOnlyAtTheTop) { RunApart(CheckTopReadOnly); }
TEST(SharedDirectory, ReadOnlyAsAWhole) { RunApart(CheckAllReadOnly); }
TEST(SharedDirectory, PlainBindHidesTheMountsBelow) { RunApart(CheckNotRecursive); }
TEST(SharedDirectory, FindsWritableMountsBelowAReadOnlyOne) { RunApart(CheckWritableMounts); }
TEST(SharedDirectory, TheNamespaceLetsGoOfTheHostsMounts) { RunApart(CheckKeepOnly); }
TEST(SharedDirectory, RemoveTreeFollowsNothing) { RunApart(CheckRemoveTree); }

}  // namespace
}  // namespace kata::virtcontainers
