// SPDX-License-Identifier: Apache-2.0
// usage: config_document file|document
// Prints the default configuration file, or the document about its keys.
#include <cstdio>
#include <string>

#include "virtcontainers/config/document.h"

int main(int argc, char** argv) {
  const std::string what = argc == 2 ? argv[1] : "";
  if (what != "file" && what != "document") {
    std::fputs("usage: config_document file|document\n", stderr);
    return 2;
  }
  const std::string text =
      what == "file" ? kata::virtcontainers::DefaultConfigFile() : kata::virtcontainers::ConfigDocument();
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() ? 0 : 1;
}
