// SPDX-License-Identifier: Apache-2.0
// Many shims' figures as one text: OpenMetrics wants a family's lines together, and each line has to say whose it is.
// Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace kata::monitor {

// Of one page; further ones are left out.
inline constexpr size_t kFamiliesMax = 256;

class MergedMetrics {
 public:
  // `page`: what a shim of this project answers; lines of another form are left out. `sandbox`: the label that its
  // samples get.
  void Add(std::string_view sandbox, std::string_view page);
  // The whole, the end mark included. `own`: a page to begin with, without a label more.
  std::string Text(std::string_view own) const;

 private:
  struct Family {
    std::string head;  // TYPE and HELP, as the first page has them
    std::string samples;
  };
  std::map<std::string, Family, std::less<>> families_;
};

}  // namespace kata::monitor
