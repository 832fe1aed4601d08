// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/config/document.h"

#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

#include "virtcontainers/config/kata_keys.h"
#include "virtcontainers/config/keys.h"

namespace kata::virtcontainers {
namespace {

constexpr size_t kColumns = 100;

constexpr char kFileHead[] =
    "# SPDX-License-Identifier: Apache-2.0\n"
    "# Default configuration of Kata Containers. Do not edit it in place: copy it to\n"
    "# /etc/kata-containers/configuration.toml, which is read instead, or put single keys into a file\n"
    "# config.d/NAME.toml beside the file that is read; those are read after it, in the order of their names.\n"
    "# A key that is left out has the value that it has here. An unknown key or a bad value is an error that names "
    "file\n"
    "# and line. \"@PREFIX@\" stands for the directory that the installation lies in. A changed file counts for pods "
    "made\n"
    "# after it. This text is written from the table of keys in virtcontainers/config/keys.cc.\n";

constexpr char kDocumentHead[] =
    "# Configuration\n\n"
    "Written from the table of keys (`virtcontainers/config/keys.cc`), as are the parser and the default file; a unit "
    "test\n"
    "says how to write it anew when they differ.\n\n"
    "The file is, in this order: the one that the caller names (`ConfigPath` of containerd's runtime options),\n"
    "`/etc/kata-containers/configuration.toml`, `PREFIX/share/defaults/kata-containers/configuration.toml`. Files\n"
    "`config.d/*.toml` beside it are read after it, in the order of their names, and then what the caller gives as "
    "text\n"
    "(`ConfigBody`); a later value wins. `@PREFIX@` in a text stands for the directory of the installation. An unknown "
    "key or\n"
    "a bad value is an error that names file, line and the nearest key; all of them are named at once. `kata-ctl "
    "config "
    "check`\n"
    "says them without a pod.\n\n"
    "The names are Kata's where the meaning is the same, so that a `configuration-qemu.toml` of Kata's can be taken: "
    "what it has\n"
    "that does not apply here is an error with what to do instead, or a note where its value asks for nothing else "
    "than "
    "what is\n"
    "so here ([below](#keys-of-katas-that-are-not-here)).\n\n"
    "A pod can set a key by an annotation only where one is named below, and only when the operator lists its name in\n"
    "`enable_annotations`, letter by letter. Any other annotation `io.katacontainers.*` is refused, with its reason. "
    "Which files\n"
    "and programs an annotation can choose the operator lists as well (`valid_hypervisor_paths`, `valid_guest_paths`,\n"
    "`valid_virtio_fs_daemon_paths`), by default none. No annotation can choose kernel parameters or arguments of "
    "virtiofsd.\n";

std::string Comment(const std::string& text) {
  std::string out;
  std::string line = "#";
  for (const std::string& word : std::vector<std::string>(absl::StrSplit(text, ' '))) {
    if (line.size() + 1 + word.size() > kColumns) {
      absl::StrAppend(&out, line, "\n");
      line = "#";
    }
    absl::StrAppend(&line, " ", word);
  }
  return absl::StrCat(out, line, "\n");
}

// "`0`, `1`".
std::string Quoted(const std::vector<std::string>& values) {
  return absl::StrJoin(values, ", ", [](std::string* out, const std::string& value) {
    absl::StrAppend(out, "`", value.empty() ? "\"\"" : value, "`");
  });
}

// "A whole number from 1 to 64, in MiB".
std::string Values(const ConfigKey& key) {
  std::string text = LegalValues(key);
  text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return key.unit.empty() ? text : absl::StrCat(text, ", in ", key.unit);
}

std::string AbsentKeysTable() {
  std::string out =
      "\n## Keys of Kata's that are not here\n\n"
      "Each with the values that ask for nothing else than what is so here: these are taken with a note, any other is "
      "an error.\n";
  std::string table;
  for (const AbsentKey& key : AbsentKeys()) {
    if (key.table != table)
      absl::StrAppend(&out, "\n### Of [", key.table, "]\n\n| key | taken | why, and what instead |\n|---|---|---|\n");
    table = key.table;
    absl::StrAppend(&out, "| `", key.name, "` | ", key.Accepts("*") ? "any" : Quoted(key.accepted), " | ", key.text,
                    " |\n");
  }
  return out;
}

}  // namespace

std::string DefaultConfigFile() {
  const Config defaults;
  std::string out = kFileHead;
  std::string table;
  for (const ConfigKey& key : ConfigKeys()) {
    if (key.table != table) absl::StrAppend(&out, "\n[", key.table, "]\n");
    if (key.table == table) absl::StrAppend(&out, "\n");
    table = key.table;
    std::string text = absl::StrCat(key.doc, " ", Values(key), ".");
    if (!key.annotation.empty()) absl::StrAppend(&text, " Annotation: ", kAnnotationPrefix, key.annotation, ".");
    absl::StrAppend(&out, Comment(text), key.name, " = ", ValueAsToml(key, defaults), "\n");
  }
  return out;
}

std::string ConfigDocument() {
  const Config defaults;
  std::string out = kDocumentHead;
  std::string table;
  for (const ConfigKey& key : ConfigKeys()) {
    if (key.table != table) absl::StrAppend(&out, "\n## [", key.table, "]\n");
    table = key.table;
    absl::StrAppend(&out, "\n### ", key.name, "\n\n", key.doc, "\n\n", Values(key), "; default `",
                    ValueAsToml(key, defaults), "`.");
    if (!key.annotation.empty()) absl::StrAppend(&out, " Annotation `", kAnnotationPrefix, key.annotation, "`.");
    absl::StrAppend(&out, "\n");
  }
  return absl::StrCat(out, AbsentKeysTable());
}

}  // namespace kata::virtcontainers
