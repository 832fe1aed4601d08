// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/xml_writer.h"

#include <libxml/xmlwriter.h>

#include <fmt/format.h>

namespace kata::hypervisors {
namespace {

const xmlChar* X(const char* text) { return reinterpret_cast<const xmlChar*>(text); }

}  // namespace

XmlWriter::XmlWriter() : buffer_(xmlBufferCreate()), writer_(nullptr) {
  if (buffer_ != nullptr) writer_ = xmlNewTextWriterMemory(buffer_, 0);
  if (writer_ == nullptr) {
    ok_ = false;
  } else {
    Check(xmlTextWriterSetIndent(writer_, 1));
  }
}

XmlWriter::~XmlWriter() {
  if (writer_ != nullptr) xmlFreeTextWriter(writer_);
  if (buffer_ != nullptr) xmlBufferFree(buffer_);
}

void XmlWriter::Open(const char* name, Attributes attributes) {
  if (!ok_) return;
  Check(xmlTextWriterStartElement(writer_, X(name)));
  for (const auto& [key, value] : attributes) {
    if (!ok_) return;
    Check(xmlTextWriterWriteAttribute(writer_, X(key), X(value.c_str())));
  }
}

void XmlWriter::Close() {
  if (ok_) Check(xmlTextWriterEndElement(writer_));
}

void XmlWriter::Leaf(const char* name, Attributes attributes, const std::string& text) {
  Open(name, attributes);
  if (ok_ && !text.empty()) Check(xmlTextWriterWriteString(writer_, X(text.c_str())));
  Close();
}

void XmlWriter::RootAddress() {
  Leaf("address", {{"type", "pci"},
                   {"domain", "0x0000"},
                   {"bus", "0x00"},
                   {"slot", fmt::format("0x{:02x}", next_slot_++)},
                   {"function", "0x0"}});
}

absl::StatusOr<std::string> XmlWriter::Finish() {
  if (ok_) Check(xmlTextWriterEndDocument(writer_));
  if (ok_) Check(xmlTextWriterFlush(writer_));
  if (!ok_) return absl::InternalError("write XML: libxml2 failed");
  return std::string(reinterpret_cast<const char*>(xmlBufferContent(buffer_)));
}

}  // namespace kata::hypervisors
