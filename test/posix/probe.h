// SPDX-License-Identifier: Apache-2.0
// Frame of the POSIX suite: a program that does in a container what programs do with files, and prints one line
// "NAME RESULT" per case. It judges nothing: test_posix.py runs it under runc and here and compares the lines.
// Results hold no numbers that change from run to run.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace kata::posix {

// Who does it. Capabilities go with a uid that is not 0, or when `drops_capabilities` says so.
struct Who {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  bool drops_capabilities = false;
};

inline const Who kRoot{};
inline const Who kBareRoot{0, 0, {}, true};  // uid 0 without a single capability
inline const Who kOwner{1000, 1000, {}, false};
inline const Who kMember{1001, 2000, {}, false};             // group 2000 is its own
inline const Who kSupplementary{1002, 1002, {2000}, false};  // group 2000 is one of its others
inline const Who kOther{1003, 1003, {}, false};

void Report(const std::string& name, const std::string& result);
// "ok" or the errno's name.
std::string Errno(long result);
std::string ErrnoName(int error);
// "file 0644 1000:2000 links=1" of a path (not followed), or the errno's name.
std::string Describe(const std::string& path);
std::string Mode(const std::string& path);

// Runs `work` in a process with the credentials, gives what it returns. A process that dies or takes too long says so.
std::string As(const Who& who, const std::function<std::string()>& work);

// A fresh empty directory below the current one, open to everybody; the current directory while a topic runs.
void Make(const std::string& path, mode_t mode, uid_t uid, gid_t gid, const std::string& content = "x");
void MakeDirectory(const std::string& path, mode_t mode, uid_t uid, gid_t gid);
std::string Content(const std::string& path);

// Takes both kinds of lock of the file, which stay as long as the process.
std::string TryLocks(const char* path);

// The topics, each in a file of its own.
void Permissions();
void Creation();
void Acls();
void SetIdBits();
void Ownership();
void Names();
void Attributes();
void SpecialFiles();
void Data();
void Locks();
void Times();
void Many();

}  // namespace kata::posix
