// SPDX-License-Identifier: Apache-2.0
// Mounts are real: every test runs in a forked child with a mount namespace and a /run of its own.
#include "virtcontainers/shared_directory.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include <gtest/gtest.h>

#include "proto/base/fd.h"
#include "virtcontainers/mounts.h"
#include "virtcontainers/sandbox.h"

namespace kata::virtcontainers {
namespace {

std::string Text(const std::string& path) { return ReadFile(path, 100).value_or("missing"); }

// Empty = as expected.
std::string CheckPropagation() {
  if (!MakeSharedDirectory("s", 0).ok()) return "not made";
  if (!MakeDirs("/run/data/sub", 0755).ok()) return "no data";
  if (!WriteFileAtomically("/run/data/file", "text", 0644).ok()) return "no file";
  // As virtiofsd: a namespace of its own, made before the mounts; this process watches it from
  // inside.
  int to_child[2], to_parent[2];
  if (::pipe(to_child) != 0 || ::pipe(to_parent) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    char byte = 0;
    const bool is_ready = ::unshare(CLONE_NEWNS) == 0 &&
                          ::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0;
    if (!is_ready || ::write(to_parent[1], "r", 1) != 1 || ::read(to_child[0], &byte, 1) != 1)
      ::_exit(1);
    const bool is_seen = Text(ExportedDirectory("s") + "/c/mounts/0/file") == "text";
    ::_exit(is_seen ? 0 : 2);
  }
  char byte = 0;
  if (::read(to_parent[0], &byte, 1) != 1) return "no child";
  const std::string place = ContainerHostPath("s", "c") + "/mounts/0";
  if (absl::Status status = BindMount("/run/data", place, true); !status.ok())
    return std::string(status.message());
  if (::write(to_child[1], "g", 1) != 1) return "no child";
  int result = 0;
  ::waitpid(child, &result, 0);
  if (result != 0) return "a later mount does not reach another namespace";
  const std::string seen = ExportedDirectory("s") + "/c/mounts/0";
  if (Text(seen + "/file") != "text") return "a later mount does not reach the export";
  if (WriteFileAtomically(seen + "/new", "x", 0644).ok()) return "a read-only mount is writable";
  if (MakeDirs(ExportedDirectory("s") + "/new", 0755).ok()) return "the export itself is writable";
  // A mount below the share must not reach the source's place.
  ::mount("none", (place + "/sub").c_str(), "tmpfs", 0, nullptr);
  if (!WriteFileAtomically(place + "/sub/inner", "x", 0644).ok()) return "no inner mount";
  if (std::filesystem::exists("/run/data/sub/inner")) return "a mount reaches back to the host";
  if (absl::Status status = RemoveSharedDirectory("s"); !status.ok())
    return std::string(status.message());
  if (std::filesystem::exists(SharedDirectory("s"))) return "the share is left";
  if (Text("/run/data/file") != "text") return "the user's file is gone";
  return RemoveSharedDirectory("s").ok() ? "" : "not idempotent";
}

std::string CheckRemoveTree() {
  if (!MakeDirs("/run/a/b/mounted", 0755).ok() || !MakeDirs("/run/keep", 0755).ok())
    return "no directory";
  if (!WriteFileAtomically("/run/keep/file", "text", 0644).ok()) return "no file";
  if (::symlink("/run/keep", "/run/a/link") != 0) return "no link";
  if (::mount("/run/keep", "/run/a/b/mounted", nullptr, MS_BIND, nullptr) != 0) return "no mount";
  if (RemoveTree("/run/a").ok()) return "a mount was entered";
  if (Text("/run/keep/file") != "text") return "the file behind a mount or link is gone";
  if (!UnmountBelow("/run/a").ok() || !RemoveTree("/run/a").ok()) return "not removed";
  if (Text("/run/keep/file") != "text") return "the file behind the link is gone";
  return std::filesystem::exists("/run/a") ? "it is left" : "";
}

void RunApart(std::string (*check)()) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const pid_t child = ::fork();
  if (child == 0) {
    std::string problem = "no mount namespace";
    if (::unshare(CLONE_NEWNS) == 0 &&
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
        ::mount("none", "/run", "tmpfs", 0, nullptr) == 0) {
      problem = check();
    }
    if (!problem.empty()) std::fprintf(stderr, "%s\n", problem.c_str());
    ::_exit(problem.empty() ? 0 : 1);
  }
  int result = -1;
  ::waitpid(child, &result, 0);
  EXPECT_EQ(result, 0) << "see the line above";
}

TEST(SharedDirectory, LaterMountsReachTheExportAndOtherNamespaces) { RunApart(CheckPropagation); }
TEST(SharedDirectory, RemoveTreeFollowsNothing) { RunApart(CheckRemoveTree); }

}  // namespace
}  // namespace kata::virtcontainers
