// SPDX-License-Identifier: Apache-2.0
#include "agent/storage.h"

#include <sys/mount.h>

#include <cerrno>

#include "agent/errors.h"
#include "proto/base/fd.h"
#include "proto/base/mount_options.h"

namespace kata::agent {

absl::Status MountStorage(const v1::Storage& storage) {
  if (storage.mount_point().empty() || storage.mount_point()[0] != '/') {
    return absl::InvalidArgumentError(
        absl::StrCat("storage at \"", storage.mount_point(), "\": not absolute"));
  }
  RETURN_IF_ERROR(MakeDirs(storage.mount_point(), 0755));
  const MountOptions options =
      ParseMountOptions({storage.options().begin(), storage.options().end()});
  const std::string data = options.Data();
  const unsigned long bind =
      options.is_bind ? MS_BIND | (options.is_recursive_bind ? MS_REC : 0) : 0;
  if (::mount(storage.source().c_str(), storage.mount_point().c_str(), storage.fstype().c_str(),
              options.flags | bind, data.empty() ? nullptr : data.c_str()) != 0) {
    return SystemError(errno, absl::StrCat("mounting ", storage.fstype(), " \"", storage.source(),
                                           "\" at \"", storage.mount_point(), "\""));
  }
  return absl::OkStatus();
}

}  // namespace kata::agent
