// SPDX-License-Identifier: Apache-2.0
// A directory of plain files in place of a cgroup's, and a runner of one coroutine.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "proto/base/coro.h"

namespace kata::agent {

class ControlFiles {
 public:
  ControlFiles() {
    std::string name = (std::filesystem::temp_directory_path() / "control-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "mkdtemp failed";
    path_ = name;
  }
  ~ControlFiles() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ControlFiles(const ControlFiles&) = delete;
  ControlFiles& operator=(const ControlFiles&) = delete;
  const std::string& path() const { return path_; }
  void Write(const std::string& file, const std::string& text) const { std::ofstream(path_ + "/" + file) << text; }
  // Without the old text's rest, which a plain file keeps where cgroupfs would not.
  std::string Read(const std::string& file) const {
    std::ifstream stream(path_ + "/" + file);
    std::stringstream text;
    text << stream.rdbuf();
    return text.str();
  }

 private:
  std::string path_;
};

inline void RunCo(asio::io_context& context, Co<void> task, std::chrono::seconds limit = std::chrono::seconds(5)) {
  bool has_ended = false;
  asio::co_spawn(context, std::move(task), [&](std::exception_ptr error) {
    EXPECT_FALSE(error);
    has_ended = true;
    context.stop();
  });
  context.run_for(limit);
  context.restart();
  EXPECT_TRUE(has_ended) << "the coroutine hangs";
}

}  // namespace kata::agent
