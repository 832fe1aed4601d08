// SPDX-License-Identifier: Apache-2.0
// The one table of configuration keys: the parser, the commented default file, its document and the list of annotations
// all come from it. Pure; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "virtcontainers/config/config.h"

namespace kata::virtcontainers {

// A text; `is_path`: names something on the host. One that has an annotation has `allowed`: the operator's patterns,
// one of which a pod's value must be as.
struct TextKey {
  std::string Config::*member;
  bool is_path = false;
  std::vector<std::string> Config::*allowed = nullptr;
};
struct NumberKey {
  uint32_t Config::*member;
  uint32_t low = 0;
  uint32_t high = 0;
};
struct SwitchKey {
  bool Config::*member;
};
// One of some words; `words` in the order of the document, `set` and `get` by index.
struct ChoiceKey {
  std::vector<std::string> words;
  std::function<void(Config&, size_t)> set;
  std::function<size_t(const Config&)> get;
};
struct ListKey {
  std::vector<std::string> Config::*member;
  std::function<absl::Status(const std::string&)> check;  // of each entry; empty: any text
};

struct ConfigKey {
  std::string table;  // e.g. hypervisor.qemu
  std::string name;
  std::variant<TextKey, NumberKey, SwitchKey, ChoiceKey, ListKey> kind;
  std::string unit;  // of a number; empty = a count
  std::string doc;   // what it does, as sentences
  // The annotation, below kAnnotationPrefix, that a pod may set it with if the operator has enabled it; empty: none.
  // What chooses words of a command line never has one.
  std::string annotation;
};

// In the order of the document; keys of one table stand together.
const std::vector<ConfigKey>& ConfigKeys();

// "hypervisor.qemu.path".
std::string FullName(const ConfigKey& key);
// The one with that full name, or with that name where one table alone has it; null: there is none.
const ConfigKey* FindKey(const std::string& name);

// What a value must be, for documents and errors: "a whole number from 1 to 64", "one of "auto", "kvm"".
std::string LegalValues(const ConfigKey& key);
// The value in `config` as TOML.
std::string ValueAsToml(const ConfigKey& key, const Config& config);
// Sets the key from `text`, without quotes, as an annotation gives it; InvalidArgument with the cause only.
absl::Status SetFromText(const ConfigKey& key, Config& config, const std::string& text);

}  // namespace kata::virtcontainers
