// SPDX-License-Identifier: Apache-2.0
#include "proto/base/in_root.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <utility>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

#include "proto/base/status.h"

namespace kata {
namespace {

constexpr int kDanglingLinksMax = 40;  // as many as the kernel follows

// Where a link that leads to nothing leads; "" once `name` is made, or when it is no link.
absl::StatusOr<std::string> MakeOne(int root_fd, const std::string& parent, const std::string& name,
                                    bool is_directory) {
  ASSIGN_OR_RETURN(const UniqueFd dir, OpenInRoot(root_fd, parent, O_PATH | O_DIRECTORY));
  const int made =
      is_directory ? ::mkdirat(dir.get(), name.c_str(), 0755) : ::mknodat(dir.get(), name.c_str(), S_IFREG | 0644, 0);
  if (made == 0) return "";
  if (errno != EEXIST) return ErrnoStatus(errno, absl::StrCat("creating \"", parent, "/", name, "\""));
  char link[PATH_MAX];
  const ssize_t size = ::readlinkat(dir.get(), name.c_str(), link, sizeof(link));
  return size < 0 ? std::string() : std::string(link, static_cast<size_t>(size));
}

// Makes what is missing of `path`. "" when it is there now, else where it leads by a link to nothing.
absl::StatusOr<std::string> MakeUntilLink(int root_fd, const std::string& path, bool is_directory) {
  const std::vector<std::string> parts = absl::StrSplit(path, '/', absl::SkipEmpty());
  if (parts.size() > kPathComponentsMax)
    return absl::InvalidArgumentError(absl::StrCat("making \"", path, "\" in the root: too deep"));
  std::string parent;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string here = absl::StrCat(parent, "/", parts[i]);
    if (absl::IsNotFound(OpenInRoot(root_fd, here, O_PATH).status())) {
      const bool is_last = i + 1 == parts.size();
      ASSIGN_OR_RETURN(const std::string link, MakeOne(root_fd, parent, parts[i], is_directory || !is_last));
      if (!link.empty()) {
        const std::string rest = absl::StrJoin(parts.begin() + static_cast<ptrdiff_t>(i) + 1, parts.end(), "/");
        return absl::StrCat(absl::StartsWith(link, "/") ? "" : parent, "/", link, is_last ? "" : "/", rest);
      }
    }
    parent = here;
  }
  return "";
}

}  // namespace

absl::StatusOr<UniqueFd> OpenInRoot(int root_fd, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<__u64>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const std::string name = path.empty() ? "/" : path;
  const long fd = ::syscall(SYS_openat2, root_fd, name.c_str(), &how, sizeof(how));
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("opening \"", path, "\" in the root"));
  return UniqueFd(static_cast<int>(fd));
}

absl::StatusOr<UniqueFd> MakeInRoot(int root_fd, const std::string& path, bool is_directory) {
  auto found = OpenInRoot(root_fd, path, O_PATH);
  if (found.ok() || !absl::IsNotFound(found.status())) return found;
  std::string at = path;
  for (int links = 0; links <= kDanglingLinksMax; ++links) {
    ASSIGN_OR_RETURN(std::string next, MakeUntilLink(root_fd, at, is_directory));
    if (next.empty()) return OpenInRoot(root_fd, at, O_PATH);
    at = std::move(next);
  }
  return absl::InvalidArgumentError(absl::StrCat("making \"", path, "\" in the root: too many links"));
}

}  // namespace kata
