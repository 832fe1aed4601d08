// SPDX-License-Identifier: Apache-2.0
// XML by libxml2's writer, which does the quoting. Remembers the first failure; not thread-safe.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/statusor.h>

struct _xmlBuffer;
struct _xmlTextWriter;

namespace kata::hypervisors {

class XmlWriter {
 public:
  using Attributes = std::vector<std::pair<const char*, std::string>>;

  XmlWriter();
  ~XmlWriter();
  XmlWriter(const XmlWriter&) = delete;
  XmlWriter& operator=(const XmlWriter&) = delete;

  void Open(const char* name, Attributes attributes = {});
  void Close();
  void Leaf(const char* name, Attributes attributes, const std::string& text = "");
  // An address of an endpoint directly on the root complex, the next free one: no root port to enumerate at boot.
  void RootAddress();
  // Ends the document.
  absl::StatusOr<std::string> Finish();

 private:
  void Check(int result) {
    if (result < 0) ok_ = false;
  }

  _xmlBuffer* buffer_;
  _xmlTextWriter* writer_;
  int next_slot_ = 1;
  bool ok_ = true;
};

}  // namespace kata::hypervisors
