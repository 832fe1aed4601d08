// SPDX-License-Identifier: Apache-2.0
// POSIX ACLs: that they are enforced, inherited, kept with the mode.
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "posix/probe.h"

namespace kata::posix {
namespace {

constexpr char kAccess[] = "system.posix_acl_access";
constexpr char kDefault[] = "system.posix_acl_default";
constexpr uint32_t kNobody = ~0u;

enum Tag : uint16_t { kUserObj = 1, kUser = 2, kGroupObj = 4, kGroup = 8, kMask = 16, kOthers = 32 };
struct Entry {
  uint16_t tag;
  uint16_t rights;
  uint32_t id;
};
using Acl = std::vector<Entry>;

std::string Encode(const Acl& acl) {
  const uint32_t version = 2;
  std::string out(reinterpret_cast<const char*>(&version), sizeof(version));
  for (const Entry& entry : acl) out.append(reinterpret_cast<const char*>(&entry), sizeof(entry));
  return out;
}

std::string Set(const std::string& path, const char* name, const Acl& acl) {
  const std::string value = Encode(acl);
  return Errno(::setxattr(path.c_str(), name, value.data(), value.size(), 0));
}

std::string Show(const std::string& path, const char* name) {
  char buffer[1024];
  const ssize_t size = ::getxattr(path.c_str(), name, buffer, sizeof(buffer));
  if (size < 0) return ErrnoName(errno);
  std::string out;
  for (size_t at = 4; at + sizeof(Entry) <= static_cast<size_t>(size); at += sizeof(Entry)) {
    Entry entry{};
    std::memcpy(&entry, buffer + at, sizeof(entry));
    char text[64];
    std::snprintf(text, sizeof(text), "%s%u:%d:%o", out.empty() ? "" : ",", entry.tag, static_cast<int>(entry.id),
                  entry.rights);
    out += text;
  }
  return out;
}

std::string Rights(const std::string& path) {
  std::string out;
  for (int flags : {O_RDONLY, O_WRONLY}) {
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC);
    out += fd < 0 ? '-' : flags == O_RDONLY ? 'r' : 'w';
    if (fd >= 0) ::close(fd);
  }
  return out + (::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) == 0 ? "x" : "-");
}

std::string RightsOfAll(const std::string& path) {
  std::string out;
  const std::pair<const char*, const Who*> actors[] = {
      {"root", &kRoot},     {"bare-root", &kBareRoot},          {"owner", &kOwner},
      {"member", &kMember}, {"supplementary", &kSupplementary}, {"other", &kOther}};
  for (const auto& [name, who] : actors)
    out += std::string(out.empty() ? "" : " ") + name + "=" + As(*who, [&] { return Rights(path); });
  return out;
}

void Enforcement() {
  struct Case {
    const char* name;
    Acl acl;
  };
  const Case cases[] = {
      {"user-denied",
       {{kUserObj, 6, kNobody}, {kUser, 0, 1003}, {kGroupObj, 4, kNobody}, {kMask, 4, kNobody}, {kOthers, 4, kNobody}}},
      {"user-allowed",
       {{kUserObj, 6, kNobody}, {kUser, 6, 1003}, {kGroupObj, 0, kNobody}, {kMask, 6, kNobody}, {kOthers, 0, kNobody}}},
      {"user-masked",
       {{kUserObj, 6, kNobody}, {kUser, 7, 1003}, {kGroupObj, 7, kNobody}, {kMask, 4, kNobody}, {kOthers, 0, kNobody}}},
      {"group-allowed",
       {{kUserObj, 6, kNobody},
        {kGroupObj, 0, kNobody},
        {kGroup, 6, 2000},
        {kMask, 6, kNobody},
        {kOthers, 0, kNobody}}},
      {"group-denied",
       {{kUserObj, 6, kNobody},
        {kGroupObj, 0, kNobody},
        {kGroup, 0, 2000},
        {kMask, 7, kNobody},
        {kOthers, 6, kNobody}}},
      {"owner-denied",
       {{kUserObj, 0, kNobody}, {kUser, 6, 1000}, {kGroupObj, 6, kNobody}, {kMask, 6, kNobody}, {kOthers, 6, kNobody}}},
      {"execute",
       {{kUserObj, 6, kNobody}, {kUser, 5, 1003}, {kGroupObj, 4, kNobody}, {kMask, 5, kNobody}, {kOthers, 4, kNobody}}},
  };
  for (const Case& entry : cases) {
    const std::string name = std::string("file-") + entry.name;
    Make(name, 0644, 1000, 1000);
    Report(std::string("set.") + entry.name,
           Set(name, kAccess, entry.acl) + " " + Mode(name) + " " + Show(name, kAccess));
    Report(std::string("file.") + entry.name, RightsOfAll(name));
    const std::string directory = std::string("directory-") + entry.name;
    MakeDirectory(directory, 0755, 1000, 1000);
    Make(directory + "/file", 0666, 0, 0);
    Set(directory, kAccess, entry.acl);
    Report(std::string("directory.") + entry.name, RightsOfAll(directory) + " in: " + RightsOfAll(directory + "/file"));
  }
  // A change that another process makes counts at once.
  Make("changing", 0644, 0, 0);
  const std::string before = As(kOther, [] { return Rights("changing"); });
  Set("changing", kAccess, cases[0].acl);
  const std::string denied = As(kOther, [] { return Rights("changing"); });
  Report("changes", before + " " + denied + " remove=" + Errno(::removexattr("changing", kAccess)) + " " +
                        As(kOther, [] { return Rights("changing"); }));
}

void Inheritance() {
  const Acl acl = {
      {kUserObj, 7, kNobody}, {kUser, 7, 1003}, {kGroupObj, 5, kNobody}, {kMask, 7, kNobody}, {kOthers, 0, kNobody}};
  MakeDirectory("parent", 0777, 0, 0);
  Report("default.set", Set("parent", kDefault, acl) + " " + Mode("parent") + " " + Show("parent", kDefault));
  for (mode_t mask : {0022, 0077, 0000}) {
    const std::string suffix = "-" + std::to_string(mask);
    Report("default.umask" + suffix, As(kOwner, [&] {
             ::umask(mask);  // has no effect where there is a default ACL
             const std::string file = "parent/file" + suffix;
             const std::string directory = "parent/directory" + suffix;
             const std::string fifo = "parent/fifo" + suffix;
             const int fd = ::open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
             std::string out =
                 Errno(fd) + Errno(::mkdir(directory.c_str(), 0777)) + Errno(::mkfifo(fifo.c_str(), 0600));
             for (const std::string& path : {file, directory, fifo})
               out += " " + Mode(path) + " " + Show(path, kAccess);
             return out + " " + Show(directory, kDefault);
           }));
  }
  Report("default.rights", RightsOfAll("parent/file-0"));
  MakeDirectory("plain", 0777, 0, 0);
  for (mode_t mask : {0022, 0077, 0137}) {
    Report("umask." + std::to_string(mask), As(kOwner, [&] {
             ::umask(mask);
             const std::string name = "plain/" + std::to_string(mask);
             const int fd = ::open(name.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
             std::string out = Errno(fd) + " " + Mode(name);
             const std::string directory = name + "-directory";
             return out + " " + Errno(::mkdir(directory.c_str(), 0777)) + " " + Mode(directory);
           }));
  }
}

void WithTheMode() {
  const Acl acl = {
      {kUserObj, 6, kNobody}, {kUser, 6, 1003}, {kGroupObj, 4, kNobody}, {kMask, 6, kNobody}, {kOthers, 0, kNobody}};
  Make("chmod", 0600, 1000, 1000);
  Set("chmod", kAccess, acl);
  Report("chmod.mask", Mode("chmod") + " " + Errno(::chmod("chmod", 0640)) + " " + Mode("chmod") + " " +
                           Show("chmod", kAccess) + " " + As(kOther, [] { return Rights("chmod"); }));
  Report("chmod.none", Errno(::chmod("chmod", 0600)) + " " + Show("chmod", kAccess) + " " +
                           As(kOther, [] { return Rights("chmod"); }));
  Make("minimal", 0777, 1000, 1000);
  const Acl minimal = {{kUserObj, 6, kNobody}, {kGroupObj, 4, kNobody}, {kOthers, 4, kNobody}};
  Report("minimal", Set("minimal", kAccess, minimal) + " " + Mode("minimal") + " " + Show("minimal", kAccess));
  Report("bad", Set("minimal", kAccess, {{kUserObj, 6, kNobody}, {kUser, 6, 1}, {kOthers, 4, kNobody}}));
  Report("default-of-file", Set("minimal", kDefault, acl));
  // Only the owner sets one; a setgid bit goes with an owner who is not of the group.
  Make("foreign", 02755, 1000, 2000);
  Report("set-by-other", As(kOther, [&] { return Set("foreign", kAccess, acl); }) + " " + Mode("foreign"));
  Report("set-by-owner", As(kOwner, [&] { return Set("foreign", kAccess, acl); }) + " " + Mode("foreign"));
  Make("foreign-root", 02755, 0, 2000);
  Report("set-by-root", Set("foreign-root", kAccess, acl) + " " + Mode("foreign-root"));
  Report("set-by-bare-root",
         As(kBareRoot, [&] { return Set("foreign-root", kAccess, acl); }) + " " + Mode("foreign-root"));
  if (::symlink("chmod", "link") != 0) Report("symlink", Errno(-1));
  Report("on-link", Errno(::lsetxattr("link", kAccess, "x", 1, 0)));
}

}  // namespace

void Acls() {
  Enforcement();
  Inheritance();
  WithTheMode();
}

}  // namespace kata::posix
