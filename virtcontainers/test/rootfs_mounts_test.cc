// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/share/rootfs_mounts.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

#include "proto/base/fd.h"
#include "proto/base/status.h"
#include "virtcontainers/share/mounts.h"
#include "virtcontainers/test/apart.h"

namespace kata::virtcontainers {
namespace {

constexpr char kPlace[] = "/run/place";

std::string Message(const absl::Status& status) { return std::string(status.message()); }

// Of a file in the detached mount.
std::string Text(const UniqueFd& mount, const std::string& path) {
  UniqueFd file(::openat(mount.get(), path.c_str(), O_RDONLY | O_CLOEXEC));
  return file.valid() ? ReadAll(file.get(), 100).value_or("unreadable") : "missing";
}
bool Write(const UniqueFd& mount, const std::string& path) {
  return UniqueFd(::openat(mount.get(), path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644)).valid();
}

RootfsMount Overlay(int layers) {
  std::string lower = "lowerdir=";
  for (int i = layers; i > 0; --i) {
    // As long as containerd's.
    const std::string layer =
        absl::StrCat("/run/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/", i, "/fs");
    MakeDirs(layer, 0755).IgnoreError();
    WriteFileAtomically(absl::StrCat(layer, "/layer", i), std::to_string(i), 0644).IgnoreError();
    WriteFileAtomically(absl::StrCat(layer, "/top"), std::to_string(i), 0644).IgnoreError();
    absl::StrAppend(&lower, layer, i > 1 ? ":" : "");
  }
  MakeDirs("/run/upper", 0755).IgnoreError();
  MakeDirs("/run/work", 0755).IgnoreError();
  RootfsMount mount;
  mount.type = mount.source = "overlay";
  mount.options = {"index=off", "workdir=/run/work", "upperdir=/run/upper", lower};
  return mount;
}

std::string CheckLayers(int layers) {
  if (!MakeDirs(kPlace, 0755).ok()) return "no place";
  auto rootfs = MakeRootfs({Overlay(layers)}, kPlace);
  if (!rootfs.ok()) return Message(rootfs.status());
  for (int i = 1; i <= layers; ++i) {
    if (Text(*rootfs, absl::StrCat("layer", i)) != std::to_string(i)) return absl::StrCat("layer ", i, " is missing");
  }
  if (Text(*rootfs, "top") != std::to_string(layers)) return "the layers are in a wrong order";
  if (!Write(*rootfs, "new") || !std::filesystem::exists("/run/upper/new")) return "not writable";
  auto mounts = Mounts();
  if (!mounts.ok()) return "no mounts";
  for (const MountEntry& mount : *mounts) {
    if (mount.place == kPlace) return "it is mounted on the host";
  }
  return std::filesystem::is_empty(kPlace) ? "" : "the place is not empty";
}
std::string CheckFewLayers() { return CheckLayers(3); }
std::string Check120Layers() { return CheckLayers(120); }
std::string Check500Layers() { return CheckLayers(500); }

std::string CheckTooManyLayers() {
  if (!MakeDirs(kPlace, 0755).ok()) return "no place";
  auto rootfs = MakeRootfs({Overlay(501)}, kPlace);
  return absl::IsInvalidArgument(rootfs.status()) ? "" : "taken";
}

RootfsMount Bind(const std::string& source, const std::string& target, std::vector<std::string> options) {
  RootfsMount mount;
  mount.type = "bind";
  mount.source = source;
  mount.target = target;
  mount.options = std::move(options);
  return mount;
}

std::string CheckTargets() {
  for (const char* path : {"/run/place", "/run/image/etc", "/run/image/real", "/run/conf", "/run/outside"}) {
    if (!MakeDirs(path, 0755).ok()) return "no directory";
  }
  WriteFileAtomically("/run/conf/file", "text", 0644).IgnoreError();
  if (::symlink("/real", "/run/image/absolute") != 0 || ::symlink("../../outside", "/run/image/dots") != 0)
    return "no link";
  // Below the one before, and through a link of the image.
  auto rootfs = MakeRootfs({Bind("/run/image", "", {"rbind", "rw"}), Bind("/run/conf", "etc", {"bind", "ro"}),
                            Bind("/run/conf", "/absolute", {"bind"})},
                           kPlace);
  if (!rootfs.ok()) return Message(rootfs.status());
  if (Text(*rootfs, "etc/file") != "text" || Text(*rootfs, "real/file") != "text") return "a target is missing";
  if (Write(*rootfs, "etc/new") || !Write(*rootfs, "real/new")) return "ro is for the wrong ones";
  // "../../outside" is "/outside" for who has this root, and that is not there.
  for (const char* target : {"dots", "../../run/outside", "nowhere"}) {
    auto escaped = MakeRootfs({Bind("/run/image", "", {"rbind"}), Bind("/run/conf", target, {"bind"})}, kPlace);
    if (!absl::IsNotFound(escaped.status())) return absl::StrCat(target, ": ", Message(escaped.status()));
  }
  return "";
}

std::string CheckRefusals() {
  if (!MakeDirs(kPlace, 0755).ok() || !MakeDirs("/run/image", 0755).ok()) return "no place";
  struct Case {
    const char* type;
    const char* option;
    const char* named;
  };
  for (const Case& each : {Case{"fuse3.fuse-overlayfs", "ro", "fuse3.fuse-overlayfs"}, Case{"fuse.x", "ro", "fuse.x"},
                           Case{"format/overlay", "ro", "format/overlay"},
                           Case{"ext4", "X-containerd.mkfs.fs=ext4", "X-containerd.mkfs.fs"},
                           Case{"overlay", "uidmap=0:1000:10", "uidmap="}, Case{"bind", "r0", "r0"}}) {
    RootfsMount mount = Bind("/run/image", "", {each.option});
    mount.type = each.type;
    if (mount.type == "bind") mount.options.push_back("rbind");
    const absl::Status refused = MakeRootfs({mount}, kPlace).status();
    if (refused.ok() || Message(refused).find(each.named) == std::string::npos)
      return absl::StrCat(each.type, ": ", Message(refused));
    if (absl::IsInternal(refused)) return absl::StrCat(each.type, ": no clear refusal");
  }
  return "";
}

std::string CheckLoop() {
  if (!MakeDirs(kPlace, 0755).ok()) return "no place";
  if (std::system("truncate -s 4m /run/image.ext4 && mke2fs -q -t ext4 /run/image.ext4") != 0) return "no image";
  RootfsMount mount;
  mount.type = "ext4";
  mount.source = "/run/image.ext4";
  mount.options = {"ro", "loop"};
  auto rootfs = MakeRootfs({mount}, kPlace);
  if (!rootfs.ok()) return Message(rootfs.status());
  struct stat info {};
  if (::fstatat(rootfs->get(), "lost+found", &info, 0) != 0) return "not mounted";
  if (Write(*rootfs, "new")) return "writable";
  rootfs->reset();
  // The device is let go with the mount.
  for (int i = 0; i < 500; ++i) {
    if (std::system("losetup -j /run/image.ext4 | grep -q .") != 0) return "";
    ::usleep(20000);
  }
  return "the loop device is left";
}

TEST(RootfsMounts, Layers) { RunApart(CheckFewLayers); }
TEST(RootfsMounts, MoreLayersThanOnePageHasRoomFor) { RunApart(Check120Layers); }
TEST(RootfsMounts, AsManyLayersAsTheKernelTakes) { RunApart(Check500Layers); }
TEST(RootfsMounts, MoreLayersThanTheKernelTakes) { RunApart(CheckTooManyLayers); }
TEST(RootfsMounts, TargetsStayInTheRootfs) { RunApart(CheckTargets); }
TEST(RootfsMounts, NamesWhatItRefuses) { RunApart(CheckRefusals); }
TEST(RootfsMounts, Loop) {
  if (::access("/dev/loop-control", R_OK | W_OK) != 0) GTEST_SKIP() << "needs loop devices";
  RunApart(CheckLoop);
}

}  // namespace
}  // namespace kata::virtcontainers
