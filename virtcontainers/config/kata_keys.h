// SPDX-License-Identifier: Apache-2.0
// What Kata's own files and pods may say and this runtime has no key for: why not, and what to use instead. Nothing of
// it is passed over: a value that asks for what is not done here is an error, any other a note. Pure; any thread.
#pragma once

#include <string>
#include <vector>

namespace kata::virtcontainers {

// "*" in `accepted`: any value.
struct AbsentKey {
  std::string table;
  std::string name;
  // Values, without quotes and lists as "[a, b]", that ask for nothing else than what is so here.
  std::vector<std::string> accepted;
  std::string text;  // why, and what instead; follows "NAME: "

  bool Accepts(const std::string& value) const;
};

// In the order of their tables.
const std::vector<AbsentKey>& AbsentKeys();
// By table and name, or by the name where one table alone has it; null: there is none.
const AbsentKey* FindAbsentKey(const std::string& full_name);
std::string FullName(const AbsentKey& key);
// For people: "any, which changes nothing", "\"no-port\", which changes nothing; any other is an error".
std::string AcceptedValues(const AbsentKey& key);

// Why there is no such table, as "hypervisor.clh"; empty: nobody has one.
std::string WhyNoTable(const std::string& table);
// The name here of a key that Kata has in another table too: "agent.kata.create_container_timeout".
std::string NameHere(const std::string& full_name);

// Annotations of Kata's that follow no key, or one of another name. `name` without "io.katacontainers.".
struct AbsentAnnotation {
  std::string name;
  std::string key;   // the full name of a key, here or absent; empty: none
  std::string text;  // instead of a key's
};
const std::vector<AbsentAnnotation>& AbsentAnnotations();

}  // namespace kata::virtcontainers
