// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <climits>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "test/compare/probe/probe.h"

namespace kata::probe {

std::string Outcome(long result, bool show_value) {
  if (result >= 0) return show_value ? "ok " + std::to_string(result) : "ok";
  const char* name = strerrorname_np(errno);
  return name != nullptr ? name : "errno " + std::to_string(errno);
}

void Say(const std::string& name, const std::string& value) { printf("%s: %s\n", name.c_str(), value.c_str()); }

std::string ReadLink(const std::string& path) {
  char target[PATH_MAX] = {};
  return readlink(path.c_str(), target, sizeof target - 1) < 0 ? Outcome(-1) : target;
}

std::string& FileDirectory() {
  static std::string directory;
  return directory;
}

std::string Path(const std::string& name) { return FileDirectory() + "/" + name; }

int Open(const std::string& name, int flags) { return open(Path(name).c_str(), flags | O_CLOEXEC, 0644); }

int Open(const std::string& name) { return Open(name, O_RDWR | O_CREAT); }

namespace {

void File(const Arguments& arguments) {
  if (arguments.size() != 2) {
    Say("usage", "probe file OPERATION DIRECTORY");
    return;
  }
  umask(022);
  mkdir(arguments[1].c_str(), 0755);
  FileDirectory() = arguments[1];
  Operations operations = ContentOperations();
  operations.merge(NameOperations());
  const auto found = operations.find(arguments[0]);
  if (found == operations.end()) {
    Say(arguments[0], "unknown to the probe");
    return;
  }
  found->second();
}

// In the image of the cases and nowhere else: `calls` really mounts, sets names, changes limits. On a host it would do
// that to the host.
constexpr char kImageMarker[] = "/etc/compare-image";

int Main(const Arguments& words) {
  if (access(kImageMarker, F_OK) != 0) {
    fprintf(stderr, "probe: \"%s\" is not there: this is not the image that I may run in\n", kImageMarker);
    return 3;
  }
  Subjects subjects = ProcessSubjects();
  subjects.merge(CallSubjects());
  subjects.merge(IpcSubjects());
  subjects.emplace("file", File);
  const auto subject = words.empty() ? subjects.end() : subjects.find(words[0]);
  if (subject == subjects.end()) {
    fprintf(stderr, "usage: probe SUBJECT [ARGUMENT...]\n");
    return 2;
  }
  subject->second(Arguments(words.begin() + 1, words.end()));
  return 0;
}

}  // namespace
}  // namespace kata::probe

int main(int count, char** words) { return kata::probe::Main(kata::probe::Arguments(words + 1, words + count)); }
