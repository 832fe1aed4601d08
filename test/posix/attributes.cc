// SPDX-License-Identifier: Apache-2.0
// Extended attributes of each name space.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "posix/probe.h"

namespace kata::posix {
namespace {

std::string Set(const char* path, const char* name, const std::string& value, int flags = 0) {
  return Errno(::lsetxattr(path, name, value.data(), value.size(), flags));
}

std::string Get(const char* path, const char* name) {
  static char buffer[1 << 17];
  const ssize_t size = ::lgetxattr(path, name, buffer, sizeof(buffer));
  if (size < 0) return ErrnoName(errno);
  return size > 32 ? std::to_string(size) + " bytes" : "\"" + std::string(buffer, static_cast<size_t>(size)) + "\"";
}

std::string List(const char* path) {
  char buffer[4096];
  const ssize_t size = ::llistxattr(path, buffer, sizeof(buffer));
  if (size < 0) return ErrnoName(errno);
  std::vector<std::string> names;
  for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(names.back().size()) + 1) names.emplace_back(buffer + at);
  std::sort(names.begin(), names.end());
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ",") + name;
  return out.empty() ? "none" : out;
}

}  // namespace

void Attributes() {
  Make("file", 0644, 1000, 1000);
  MakeDirectory("directory", 0755, 1000, 1000);
  Report("user.none", Get("file", "user.a") + " " + List("file"));
  Report("user.set", Set("file", "user.a", "value") + " " + Get("file", "user.a") + " " + List("file"));
  Report("user.create", Set("file", "user.a", "2", XATTR_CREATE) + " " + Set("file", "user.b", "", XATTR_CREATE) + " " +
                            Get("file", "user.b"));
  Report("user.replace", Set("file", "user.a", "3", XATTR_REPLACE) + " " + Set("file", "user.c", "3", XATTR_REPLACE));
  Report("user.small-buffer", [] {
    char byte = 0;
    Set("file", "user.long", "value");
    return Errno(::getxattr("file", "user.long", &byte, 1)) + " " +
           std::to_string(::getxattr("file", "user.long", nullptr, 0));
  }());
  Report("user.binary", Set("file", "user.bin", std::string("\0\xff\n", 3)) + " " +
                            std::to_string(::getxattr("file", "user.bin", nullptr, 0)));
  Report("user.remove",
         Errno(::removexattr("file", "user.a")) + " " + Errno(::removexattr("file", "user.a")) + " " + List("file"));
  Report("user.size-2000", Set("file", "user.big", std::string(2000, 'v')) + " " + Get("file", "user.big"));
  Report("user.size-too-large", Set("file", "user.huge", std::string(65537, 'v')));
  Report("user.name-too-long", Set("file", ("user." + std::string(251, 'n')).c_str(), "v"));
  Report("user.name-longest", Set("file", ("user." + std::string(250, 'n')).c_str(), "v"));
  Report("user.empty-name", Set("file", "user.", "v") + " " + Set("file", "", "v"));
  Report("user.directory", Set("directory", "user.a", "v") + " " + Get("directory", "user.a"));
  Report("user.kata", [] {
    std::string out;
    for (const char* name : {"user.kata.trusted.kata", "user.kata"}) {
      out += Set("file", name, "v") + " ";
      ::removexattr("file", name);
    }
    return out;
  }());
  Report("user.by-owner", As(kOwner, [] { return Set("file", "user.o", "v") + " " + Get("file", "user.o"); }));
  Report("user.by-other",
         As(kOther, [] { return Set("file", "user.x", "v") + " " + Get("file", "user.o") + " " + List("file"); }));
  Make("secret", 0600, 1000, 1000);
  Set("secret", "user.s", "v");
  Report("user.unreadable", As(kOther, [] { return Get("secret", "user.s") + " " + List("secret"); }));
  MakeDirectory("sticky", 01777, 1000, 1000);
  Report("user.sticky", As(kOther, [] { return Set("sticky", "user.s", "v"); }) + " " +
                            As(kOwner, [] { return Set("sticky", "user.s", "v"); }));
  if (::symlink("file", "link") != 0 || ::mkfifo("fifo", 0666) != 0) Report("make", Errno(-1));
  Report("user.link", Set("link", "user.a", "v") + " " + Get("link", "user.a"));
  Report("user.fifo", Set("fifo", "user.a", "v") + " " + Get("fifo", "user.a"));
  Report("user.fd", [] {
    const int fd = ::open("file", O_RDONLY | O_CLOEXEC);
    std::string out = Errno(::fsetxattr(fd, "user.fd", "v", 1, 0)) + " " + Errno(::fremovexattr(fd, "user.fd"));
    ::close(fd);
    return out;
  }());
  Report("user.renamed", [] {
    Set("file", "user.kept", "v");
    const std::string out = Errno(::rename("file", "renamed")) + " " + Get("renamed", "user.kept");
    return out + " " + Errno(::rename("renamed", "file"));
  }());
  vfs_cap_data data{};
  data.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE;
  data.data[0].permitted = 1u << CAP_NET_BIND_SERVICE;
  const std::string capability(reinterpret_cast<const char*>(&data), XATTR_CAPS_SZ_2);
  Report("security.capability", Set("file", "security.capability", capability) + " " + List("file"));
  Report("security.capability.by-bare-root",
         As(kBareRoot, [&] { return Set("file", "security.capability", capability); }));
  Report("security.capability.get",
         As(kOther, [] { return std::to_string(::getxattr("file", "security.capability", nullptr, 0)); }));
  Report("security.capability.remove", Errno(::removexattr("file", "security.capability")));
  Report("security.other", Set("file", "security.kata", "v") + " " + Get("file", "security.kata"));
  Report("trusted", Set("file", "trusted.kata", "v") + " " + Get("file", "trusted.kata") + " " +
                        As(kOther, [] { return List("file"); }));
  Report("trusted.overlay",
         Set("directory", "trusted.overlay.opaque", "y") + " " + Get("directory", "trusted.overlay.opaque"));
  Report("system.unknown", Set("file", "system.kata", "v") + " " + Get("file", "system.kata"));
  Report("unknown", Set("file", "kata.a", "v") + " " + Get("file", "kata.a"));
}

}  // namespace kata::posix
