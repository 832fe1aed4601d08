// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/hot_plug.h"

#include <sched.h>

#include <cerrno>
#include <chrono>
#include <thread>
#include <variant>
#include <vector>

#include <absl/strings/str_cat.h>

#include "hypervisors/hypervisor.h"
#include "hypervisors/libvirt/device_xml.h"
#include "hypervisors/libvirt/file_set.h"
#include "proto/base/status.h"

namespace kata::hypervisors {
namespace {

constexpr std::chrono::milliseconds kDetachPoll{10};

// libvirt opens a tap in the namespace of the thread that calls.
absl::Status PlugInCard(LibvirtSession& session, const std::string& xml, int netns) {
  absl::Status status;
  std::thread thread([&session, &xml, &status, netns] {
    status = setns(netns, CLONE_NEWNET) == 0 ? session.Attach(xml) : ErrnoStatus(errno, "enter the network namespace");
  });
  thread.join();
  return status;
}

// The guest lets go in its own time. An earlier request may be under way still, which libvirt says is an error.
absl::Status DetachAndWait(LibvirtSession& session, const std::string& alias) {
  const absl::Status asked = session.Detach(alias);
  if (absl::IsNotFound(asked)) return absl::OkStatus();
  const auto until = std::chrono::steady_clock::now() + kDetachTimeout;
  for (;;) {
    ASSIGN_OR_RETURN(const std::string document, session.Document());
    if (document.find(absl::StrCat("'", alias, "'")) == std::string::npos) return absl::OkStatus();
    if (std::chrono::steady_clock::now() >= until) break;
    std::this_thread::sleep_for(kDetachPoll);
  }
  return asked.ok() ? absl::DeadlineExceededError("the guest does not let go of it") : asked;
}

}  // namespace

absl::Status PlugIn(LibvirtSession& session, const std::string& xml, const Device& device, int index, int netns) {
  if (std::holds_alternative<NetworkCard>(device.kind)) return PlugInCard(session, xml, netns);
  const auto* disk = std::get_if<BlockDisk>(&device.kind);
  if (disk == nullptr) return session.Attach(xml);
  const int set = FileSetOf(index);
  ASSIGN_OR_RETURN(const std::vector<UniqueFd> files, FilesForSet(disk->file->get(), disk->is_read_only));
  absl::Status status;
  for (const UniqueFd& file : files) {
    if (status.ok()) status = session.AddToFileSet(set, file.get());
  }
  if (status.ok()) status = RunWithFileSetPath(set, [&session, &xml] { return session.Attach(xml); });
  // The machine lives on without it.
  if (!status.ok()) session.RemoveFileSet(set).IgnoreError();
  return status;
}

absl::Status TakeOut(LibvirtSession& session, const std::string& id, int index) {
  RETURN_IF_ERROR(DetachAndWait(session, DeviceAlias(id)));
  // Only a disk has one.
  session.RemoveFileSet(FileSetOf(index)).IgnoreError();
  return absl::OkStatus();
}

}  // namespace kata::hypervisors
