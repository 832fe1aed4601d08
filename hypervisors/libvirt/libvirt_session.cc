// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/libvirt_session.h"

#include <libvirt/libvirt-qemu.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <signal.h>

#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>

#include "proto/base/status.h"

namespace kata::hypervisors {
namespace {

absl::Status LastError(absl::string_view what) {
  const virErrorPtr error = virGetLastError();
  std::string cause = error != nullptr && error->message != nullptr ? error->message : "unknown libvirt error";
  while (!cause.empty() && (cause.back() == '\n' || cause.back() == ' ')) cause.pop_back();
  for (char& c : cause) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  const bool is_gone = error != nullptr && (error->code == VIR_ERR_NO_DOMAIN || error->code == VIR_ERR_DEVICE_MISSING);
  return absl::Status(is_gone ? absl::StatusCode::kNotFound : absl::StatusCode::kInternal,
                      absl::StrCat(what, ": ", cause));
}

void IgnoreError(void*, virErrorPtr) {}  // errors travel as statuses; libvirt would print them

absl::Status StartEventLoop() {
  static std::once_flag once;
  static absl::Status result;
  std::call_once(once, [] {
    virSetErrorFunc(nullptr, &IgnoreError);
    if (virInitialize() != 0 || virEventRegisterDefaultImpl() != 0) {
      result = LastError("initialize libvirt");
      return;
    }
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread([] {
      while (virEventRunDefaultImpl() == 0) {
      }
    }).detach();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  });
  return result;
}

DomainEvent Translate(int event, int detail) {
  switch (event) {
    case VIR_DOMAIN_EVENT_SHUTDOWN:
      return DomainEvent::kShutDown;
    case VIR_DOMAIN_EVENT_CRASHED:
      return DomainEvent::kCrashed;
    case VIR_DOMAIN_EVENT_STOPPED:
      return detail == VIR_DOMAIN_EVENT_STOPPED_CRASHED ? DomainEvent::kCrashed : DomainEvent::kStopped;
    default:
      return DomainEvent::kOther;
  }
}

class Session : public LibvirtSession {
 public:
  Session(virConnectPtr connection, EventHandler handler)
      : connection_(connection), handler_(new EventHandler(std::move(handler))) {}
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  ~Session() override {
    if (callback_ >= 0) virConnectDomainEventDeregisterAny(connection_, callback_);
    if (callback_ < 0) delete handler_;
    if (domain_ != nullptr) virDomainFree(domain_);
    virConnectClose(connection_);
  }

  absl::Status Listen() {
    // libvirt casts it back to what this event's callback is; by a type between, since compilers warn of the direct
    // way.
    const auto function =
        reinterpret_cast<virConnectDomainEventGenericCallback>(reinterpret_cast<void (*)()>(&Session::OnEvent));
    callback_ = virConnectDomainEventRegisterAny(connection_, nullptr, VIR_DOMAIN_EVENT_ID_LIFECYCLE, function,
                                                 handler_, &Session::FreeHandler);
    return callback_ < 0 ? LastError("listen to domain events") : absl::OkStatus();
  }

  absl::Status LoadCapabilities(const std::string& emulator, const std::string& machine_type, bool is_kvm) override {
    char* text = virConnectGetDomainCapabilities(connection_, emulator.c_str(), nullptr, machine_type.c_str(),
                                                 is_kvm ? "kvm" : "qemu", 0);
    const bool is_known = text != nullptr;
    std::free(text);
    return is_known ? absl::OkStatus() : LastError("ask for the emulator's capabilities");
  }
  absl::Status Create(const std::string& xml, const std::vector<File>& files, bool is_paused) override {
    const unsigned flags = is_paused ? VIR_DOMAIN_START_PAUSED : VIR_DOMAIN_NONE;
    if (domain_ != nullptr) virDomainFree(std::exchange(domain_, nullptr));
    if (files.empty()) {
      domain_ = virDomainCreateXML(connection_, xml.c_str(), flags);
      return domain_ == nullptr ? LastError("create domain") : absl::OkStatus();
    }
    // Files belong to a domain, so it must be there before it runs.
    domain_ = virDomainDefineXML(connection_, xml.c_str());
    if (domain_ == nullptr) return LastError("define domain");
    RETURN_IF_ERROR(HandOver(files));
    return virDomainCreateWithFlags(domain_, flags) < 0 ? LastError("create domain") : absl::OkStatus();
  }
  absl::Status Attach(const std::string& xml) override {
    return virDomainAttachDeviceFlags(domain_, xml.c_str(), VIR_DOMAIN_AFFECT_LIVE) < 0 ? LastError("attach device")
                                                                                        : absl::OkStatus();
  }
  absl::Status Change(const std::string& xml) override {
    return virDomainUpdateDeviceFlags(domain_, xml.c_str(), VIR_DOMAIN_AFFECT_LIVE) < 0 ? LastError("change device")
                                                                                        : absl::OkStatus();
  }
  absl::Status SetVcpus(uint32_t count) override {
    return virDomainSetVcpusFlags(domain_, count, VIR_DOMAIN_AFFECT_LIVE) < 0 ? LastError("set the processors")
                                                                              : absl::OkStatus();
  }
  absl::Status AddToFileSet(int number, int fd) override {
    return Monitor(absl::StrCat(R"({"execute":"add-fd","arguments":{"fdset-id":)", number, "}}"), fd).status();
  }
  absl::Status RemoveFileSet(int number) override {
    return Monitor(absl::StrCat(R"({"execute":"remove-fd","arguments":{"fdset-id":)", number, "}}"), -1).status();
  }
  absl::StatusOr<std::string> Monitor(const std::string& command, int fd) override {
    char* answer = nullptr;
    const int result = virDomainQemuMonitorCommandWithFiles(domain_, command.c_str(), fd >= 0 ? 1 : 0, &fd, nullptr,
                                                            nullptr, &answer, 0);
    const std::string text = answer != nullptr ? answer : "";
    std::free(answer);
    if (result < 0) return LastError("ask QEMU");
    const nlohmann::json document = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (document.is_object() && document.contains("return")) return document["return"].dump();
    const nlohmann::json::json_pointer reason("/error/desc");
    const bool has_reason = document.is_object() && document.contains(reason) && document[reason].is_string();
    return absl::InternalError(
        absl::StrCat("ask QEMU: ", has_reason ? document[reason].get<std::string>() : "no answer that can be read"));
  }
  absl::Status Detach(const std::string& alias) override {
    return virDomainDetachDeviceAlias(domain_, alias.c_str(), VIR_DOMAIN_AFFECT_LIVE) < 0 ? LastError("detach device")
                                                                                          : absl::OkStatus();
  }
  absl::Status Pause() override {
    return virDomainSuspend(domain_) < 0 ? LastError("suspend domain") : absl::OkStatus();
  }
  absl::Status Resume() override {
    return virDomainResume(domain_) < 0 ? LastError("resume domain") : absl::OkStatus();
  }
  absl::Status Destroy() override {
    if (domain_ == nullptr || virDomainDestroy(domain_) == 0) return absl::OkStatus();
    absl::Status status = LastError("destroy domain");
    if (absl::IsNotFound(status) || !IsActive()) return absl::OkStatus();
    return status;
  }
  bool IsActive() override { return domain_ != nullptr && virDomainIsActive(domain_) == 1; }
  absl::StatusOr<std::string> Document() override {
    char* text = virDomainGetXMLDesc(domain_, 0);
    if (text == nullptr) return LastError("read the domain's document");
    std::string document = text;
    std::free(text);
    return document;
  }

 private:
  absl::Status HandOver(const std::vector<File>& files) {
    for (const File& file : files) {
      int fd = file.fd;
      if (virDomainFDAssociate(domain_, file.group.c_str(), 1, &fd, 0) < 0) return LastError("hand over a file");
    }
    return absl::OkStatus();
  }
  static int OnEvent(virConnectPtr, virDomainPtr, int event, int detail, void* opaque) {
    (*static_cast<EventHandler*>(opaque))(Translate(event, detail));
    return 0;
  }
  static void FreeHandler(void* opaque) { delete static_cast<EventHandler*>(opaque); }

  virConnectPtr connection_;
  virDomainPtr domain_ = nullptr;
  EventHandler* handler_;  // libvirt's once registered
  int callback_ = -1;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LibvirtSession>> LibvirtSession::Open(const std::string& uri, EventHandler handler) {
  RETURN_IF_ERROR(StartEventLoop());
  const virConnectPtr connection = virConnectOpen(uri.c_str());
  if (connection == nullptr) {
    const absl::Status status = LastError(absl::StrCat("open libvirt \"", uri, "\""));
    return absl::Status(status.code(), absl::StrCat(status.message(), "; \"kata-ctl check\" says what libvirt lacks"));
  }
  auto session = std::make_unique<Session>(connection, std::move(handler));
  RETURN_IF_ERROR(session->Listen());
  return std::unique_ptr<LibvirtSession>(std::move(session));
}

}  // namespace kata::hypervisors
