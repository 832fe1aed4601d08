// SPDX-License-Identifier: Apache-2.0
// What a machine gets and gives back while it runs: devices, memory, processors.
#include <algorithm>
#include <utility>

#include <absl/strings/str_cat.h>

#include "hypervisors/libvirt/device_xml.h"
#include "hypervisors/libvirt/hot_plug.h"
#include "hypervisors/libvirt/libvirt_machine.h"
#include "hypervisors/libvirt/memory_device.h"
#include "proto/base/status.h"

namespace kata::hypervisors {

Co<absl::Status> LibvirtMachine::Attach(Device device) {
  auto self = shared_from_this();
  CO_RETURN_IF_ERROR(RequireState(State::kRunning, "attach a device to"));
  const std::string what = absl::StrCat("attach device \"", device.id, "\" to machine \"", domain_, "\"");
  for (const Device& other : spec_->devices) {
    if (other.id == device.id) co_return Annotate(absl::AlreadyExistsError("the id is taken"), what);
  }
  if (NeedsSharedMemory(device) && std::none_of(spec_->devices.begin(), spec_->devices.end(), &NeedsSharedMemory)) {
    co_return absl::FailedPreconditionError(absl::StrCat(what, ": the machine's memory is not shared"));
  }
  auto slot = slots_->Take(device);
  if (!slot.ok()) co_return Annotate(slot.status(), what);
  const std::string id = device.id;
  absl::Status status = co_await AttachInSlot(std::move(device), *slot);
  if (!status.ok()) slots_->Free(id);
  co_return Annotate(status, what);
}

Co<absl::Status> LibvirtMachine::AttachInSlot(Device device, DeviceSlot slot) {
  auto self = shared_from_this();
  const DevicePlace place = slot.is_scsi ? DevicePlace::kScsi : DevicePlace::kRootPort;
  if (slot.is_scsi) {
    absl::Status ready = co_await MakeScsiController(slot.needs_controller);
    if (!ready.ok()) co_return ready;
  }
  const uint32_t thread = DiskThread(*spec_, place, slot.index);
  CO_ASSIGN_OR_RETURN(const std::string xml, DeviceXml(device, *paths_, slot.index, place, /*port=*/0, thread));
  std::shared_ptr<LibvirtSession> session = session_;
  if (session == nullptr) co_return absl::UnavailableError("the virtual machine has stopped");
  std::function<absl::Status()> job = [session, xml, device, index = slot.index, netns = netns_] {
    return PlugIn(*session, xml, device, index, netns->get());
  };
  co_return co_await RunBlocking(MachinePool(), std::move(job));
}

Co<absl::Status> LibvirtMachine::MakeScsiController(bool is_mine) {
  auto self = shared_from_this();
  if (!is_mine) {
    std::shared_ptr<Outcome> theirs = scsi_controller_;
    co_await theirs->known.Wait();
    co_return theirs->status;
  }
  auto made = std::make_shared<Outcome>(executor_);
  scsi_controller_ = made;
  const uint32_t thread = DiskThread(*spec_, DevicePlace::kScsi, 0);
  std::function<absl::Status()> job = [session = session_, thread]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::string xml, ScsiControllerXml(thread));
    return session->Attach(xml);
  };
  absl::Status status = co_await RunBlocking(MachinePool(), std::move(job));
  made->status = Annotate(status, "attach a SCSI controller for it");
  if (!status.ok()) slots_->ControllerFailed();
  made->known.Set();
  co_return made->status;
}

Co<absl::Status> LibvirtMachine::Detach(std::string id) {
  auto self = shared_from_this();
  CO_RETURN_IF_ERROR(RequireState(State::kRunning, "detach a device from"));
  const std::string what = absl::StrCat("detach device \"", id, "\" from machine \"", domain_, "\"");
  const DeviceSlot* const slot = slots_->Find(id);
  if (slot == nullptr) co_return Annotate(absl::NotFoundError("it was not attached"), what);
  std::function<absl::Status()> job = [session = session_, id, index = slot->index] {
    return TakeOut(*session, id, index);
  };
  absl::Status status = co_await RunBlocking(MachinePool(), std::move(job));
  if (status.ok()) slots_->Free(id);
  co_return Annotate(status, what);
}

Co<absl::StatusOr<MachineSize>> LibvirtMachine::Resize(MachineSize size) {
  auto self = shared_from_this();
  CO_RETURN_IF_ERROR(RequireState(State::kRunning, "resize"));
  const std::string what = absl::StrCat("resize machine \"", domain_, "\" to ", size.memory_mib, " MiB and ",
                                        size.vcpus, size.vcpus == 1 ? " processor" : " processors");
  size = WithinBounds(*spec_, size);
  std::shared_ptr<LibvirtSession> session = session_;
  if (size.memory_mib != size_.memory_mib) {
    auto xml = MemoryDeviceXml(*spec_, size.memory_mib - spec_->memory_mib);
    if (!xml.ok()) co_return Annotate(xml.status(), what);
    std::function<absl::Status()> job = [session, xml = *xml, is_there = has_memory_device_] {
      return is_there ? session->Change(xml) : session->Attach(xml);
    };
    absl::Status status = co_await RunBlocking(MachinePool(), std::move(job));
    if (!status.ok()) co_return Annotate(status, what);
    has_memory_device_ = true;
    size_.memory_mib = size.memory_mib;
  }
  // An emulator has them all from its start (WriteVcpus).
  if (size.vcpus != size_.vcpus && accelerator_ == Accelerator::kKvm) {
    std::function<absl::Status()> job = [session, count = size.vcpus] { return session->SetVcpus(count); };
    absl::Status status = co_await RunBlocking(MachinePool(), std::move(job));
    if (!status.ok()) co_return Annotate(status, what);
  }
  size_.vcpus = size.vcpus;
  co_return size_;
}

}  // namespace kata::hypervisors
