// SPDX-License-Identifier: Apache-2.0
// The few libvirt calls this project makes, as statuses. Blocking: not for the io thread. libvirt's own event loop
// runs in a thread that begins before the first connection and lasts as long as the process.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace kata::hypervisors {

enum class DomainEvent { kShutDown, kCrashed, kStopped, kOther };

class LibvirtSession {
 public:
  // Called on libvirt's thread.
  using EventHandler = std::function<void(DomainEvent)>;

  static absl::StatusOr<std::unique_ptr<LibvirtSession>> Open(const std::string& uri, EventHandler handler);
  virtual ~LibvirtSession() = default;

  // An open file of this process that a document names by its group; libvirt copies the descriptor.
  struct File {
    std::string group;
    int fd = -1;
  };

  // Has libvirt ask the emulator what it can, unless its files say so already: the same that Create does, but before a
  // guest runs. `machine_type` as in the document.
  virtual absl::Status LoadCapabilities(const std::string& emulator, const std::string& machine_type, bool is_kvm) = 0;
  // The calling thread's network namespace becomes the machine's. `is_paused`: Resume lets it run.
  virtual absl::Status Create(const std::string& xml, const std::vector<File>& files, bool is_paused = false) = 0;
  // `xml` is one device's element.
  virtual absl::Status Attach(const std::string& xml) = 0;
  // `xml` is the element of an attached device with what is to be different.
  virtual absl::Status Change(const std::string& xml) = 0;
  virtual absl::Status SetVcpus(uint32_t count) = 0;
  // Gives QEMU a copy of `fd` as one of the set `number` (file_set.h), and takes all of the set away again; what is
  // open through it stays open.
  virtual absl::Status AddToFileSet(int number, int fd) = 0;
  virtual absl::Status RemoveFileSet(int number) = 0;
  // A command of QEMU's own monitor, with a copy of `fd` unless it is -1; its answer's "return" as JSON. What QEMU says
  // is wrong is the error.
  virtual absl::StatusOr<std::string> Monitor(const std::string& command, int fd) = 0;
  // Asks the guest to let go of the device that the domain's document calls `alias` and returns at once; it is gone
  // when the document does not have it any more. NotFound when it is gone already.
  virtual absl::Status Detach(const std::string& alias) = 0;
  virtual absl::Status Pause() = 0;
  virtual absl::Status Resume() = 0;
  // A domain that is gone is success.
  virtual absl::Status Destroy() = 0;
  virtual bool IsActive() = 0;
  // The domain's document as it runs, with what libvirt has filled in.
  virtual absl::StatusOr<std::string> Document() = 0;
};

}  // namespace kata::hypervisors
