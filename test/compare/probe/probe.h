// SPDX-License-Identifier: Apache-2.0
// What a program sees of the place it runs in, one fact a line: `probe SUBJECT [ARGUMENT...]`. The cases of test/run
// compare run it under two runtimes and compare the lines. Nothing here decides what is right.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace kata::probe {

using Arguments = std::vector<std::string>;
using Subjects = std::map<std::string, std::function<void(const Arguments&)>>;

// "ok", "ok 7" or the name of the error in errno.
std::string Outcome(long result, bool show_value = false);
void Say(const std::string& name, const std::string& value);
std::string ReadLink(const std::string& path);

Subjects ProcessSubjects();
Subjects CallSubjects();
Subjects IpcSubjects();

// Operations of `probe file OPERATION DIRECTORY`; each makes what it needs below FileDirectory().
using Operations = std::map<std::string, void (*)()>;
std::string& FileDirectory();
std::string Path(const std::string& name);
int Open(const std::string& name, int flags);
int Open(const std::string& name);
Operations ContentOperations();
Operations NameOperations();

}  // namespace kata::probe
