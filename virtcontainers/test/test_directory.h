// SPDX-License-Identifier: Apache-2.0
// A directory that is gone after the test.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace kata::virtcontainers {

class TestDirectory {
 public:
  TestDirectory() {
    std::string name = std::filesystem::temp_directory_path() / "kata-virtcontainers-XXXXXX";
    path_ = ::mkdtemp(name.data()) != nullptr ? name : "";
  }
  ~TestDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace kata::virtcontainers
