// SPDX-License-Identifier: Apache-2.0
// The names of the figures are a promise: docs/management.md lists them.
#include <unistd.h>

#include <map>
#include <optional>
#include <utility>

#include <absl/strings/numbers.h>

#include "proto/base/open_metrics.h"
#include "proto/base/process_figures.h"
#include "proto/base/status.h"
#include "proto/base/timeline.h"
#include "proto/base/version.h"
#include "shimv2/management/pages.h"

namespace kata::shimv2 {
namespace {

using Kind = OpenMetrics::Kind;
using Facts = std::map<std::string, std::string>;
using Processes = std::map<std::string, ProcessFigures>;
using Interfaces = std::map<std::string, const agent::v1::InterfaceStats*>;

constexpr double kUsPerSecond = 1e6;
constexpr double kNsPerSecond = 1e9;
// The step that ends the start of a sandbox; what comes later is of containers, at any time.
constexpr char kLastStartStep[] = "agent ready";

double Number(uint64_t value) { return static_cast<double>(value); }

pid_t PidOf(const Facts& facts, const std::string& name) {
  const auto at = facts.find(name);
  int pid = 0;
  return at != facts.end() && absl::SimpleAtoi(at->second, &pid) ? pid : 0;
}

std::string ValueOf(const Facts& facts, const std::string& name) {
  const auto at = facts.find(name);
  return at == facts.end() ? "" : at->second;
}

// For the pool.
absl::StatusOr<Processes> ReadProcesses(pid_t machine, pid_t virtiofsd) {
  Processes out;
  for (const auto& [name, pid] :
       std::map<std::string, pid_t>{{"shim", ::getpid()}, {"machine", machine}, {"virtiofsd", virtiofsd}}) {
    if (std::optional<ProcessFigures> figures = ReadProcessFigures(pid)) out.emplace(name, *figures);
  }
  return out;
}

void AddPod(const PodView& view, const Facts& facts, OpenMetrics& out) {
  const PodIdentity& identity = view.pod->identity();
  out.Begin(Kind::kInfo, "kata_shim", "The pod's shim.");
  out.Add({{"version", kBuildVersion}, {"commit", kBuildCommit}, {"namespace", view.name_space}}, 1);
  out.Begin(Kind::kInfo, "kata_pod", "The pod, as people know it.");
  out.Add({{"pod", identity.pod_name}, {"pod_namespace", identity.pod_namespace}, {"id", identity.sandbox_id}}, 1);
  out.Begin(Kind::kInfo, "kata_machine", "The pod's virtual machine.");
  out.Add({{"accelerator", ValueOf(facts, "accelerator")},
           {"started_by", ValueOf(facts, "started_by")},
           {"hypervisor", ValueOf(facts, "hypervisor")},
           {"guest_kernel", ValueOf(facts, "guest_kernel")}},
          1);
  out.Begin(Kind::kGauge, "kata_pod_running", "1 while the pod's machine runs.");
  out.Add({}, view.pod->StateWord() == "running" ? 1 : 0);
  out.Begin(Kind::kGauge, "kata_pod_created_timestamp_seconds", "When the pod's sandbox was asked for.");
  out.Add({}, static_cast<double>(identity.created_at_ns) / kNsPerSecond);
  std::map<std::string, uint64_t> states;
  for (const TaskSummary& task : view.tasks->Summaries())
    ++states[task.processes.empty() ? "creating" : task.processes.front().state];
  out.Begin(Kind::kGauge, "kata_pod_containers", "Containers of the pod by state.");
  for (const auto& [state, count] : states) out.Add({{"state", state}}, Number(count));
  double value = 0;
  out.Begin(Kind::kGauge, "kata_machine_processors", "Processors that the machine has.");
  if (absl::SimpleAtod(ValueOf(facts, "vcpus"), &value)) out.Add({}, value);
  out.Begin(Kind::kGauge, "kata_machine_memory_bytes", "Memory that the machine has.");
  if (absl::SimpleAtod(ValueOf(facts, "memory_mib"), &value)) out.Add({}, value * (1u << 20));
}

void AddProcesses(const Processes& processes, OpenMetrics& out) {
  out.Begin(Kind::kCounter, "kata_process_cpu_seconds", "Processor time of a process of the pod on the host.");
  for (const auto& [name, figures] : processes) {
    out.Add({{"process", name}, {"mode", "user"}}, figures.user_seconds);
    out.Add({{"process", name}, {"mode", "system"}}, figures.system_seconds);
  }
  out.Begin(Kind::kGauge, "kata_process_resident_bytes", "Memory of a process of the pod on the host.");
  for (const auto& [name, figures] : processes) {
    out.Add({{"process", name}, {"kind", "anonymous"}}, Number(figures.anonymous_bytes));
    out.Add({{"process", name}, {"kind", "file"}}, Number(figures.file_bytes));
    out.Add({{"process", name}, {"kind", "shared"}}, Number(figures.shared_bytes));
  }
  out.Begin(Kind::kGauge, "kata_process_threads", "Threads of a process of the pod on the host.");
  for (const auto& [name, figures] : processes) out.Add({{"process", name}}, Number(figures.threads));
  out.Begin(Kind::kGauge, "kata_process_open_files", "Open files of a process of the pod on the host.");
  for (const auto& [name, figures] : processes) out.Add({{"process", name}}, Number(figures.open_files));
}

// A guest may tell of two of one name: a sample that is there twice would spoil the page of the whole node.
Interfaces InterfacesOf(const GuestFigures& guest) {
  Interfaces out;
  for (const agent::v1::InterfaceStats& interface : guest.sandbox.interfaces())
    out.emplace(interface.name(), &interface);
  return out;
}

void AddGuest(const GuestFigures* guest, OpenMetrics& out) {
  out.Begin(Kind::kGauge, "kata_guest_answers", "1 when the guest has answered for this page.");
  out.Add({}, guest != nullptr ? 1 : 0);
  if (guest == nullptr) return;
  if (guest->sandbox.has_guest_memory()) {
    const agent::v1::GuestMemory& memory = guest->sandbox.guest_memory();
    out.Begin(Kind::kGauge, "kata_guest_memory_bytes", "Memory as the guest's kernel counts it.");
    out.Add({{"kind", "total"}}, Number(memory.total()));
    out.Add({{"kind", "free"}}, Number(memory.free()));
    out.Add({{"kind", "available"}}, Number(memory.available()));
    out.Add({{"kind", "cached"}}, Number(memory.cached()));
  }
  const Interfaces interfaces = InterfacesOf(*guest);
  out.Begin(Kind::kCounter, "kata_network_bytes", "Bytes over an interface of the guest.");
  for (const auto& [name, interface] : interfaces) {
    out.Add({{"interface", name}, {"direction", "receive"}}, Number(interface->rx_bytes()));
    out.Add({{"interface", name}, {"direction", "transmit"}}, Number(interface->tx_bytes()));
  }
  out.Begin(Kind::kCounter, "kata_network_packets", "Packets over an interface of the guest.");
  for (const auto& [name, interface] : interfaces) {
    out.Add({{"interface", name}, {"direction", "receive"}}, Number(interface->rx_packets()));
    out.Add({{"interface", name}, {"direction", "transmit"}}, Number(interface->tx_packets()));
  }
  out.Begin(Kind::kCounter, "kata_network_dropped_packets", "Packets that an interface of the guest has dropped.");
  for (const auto& [name, interface] : interfaces) {
    out.Add({{"interface", name}, {"direction", "receive"}}, Number(interface->rx_dropped()));
    out.Add({{"interface", name}, {"direction", "transmit"}}, Number(interface->tx_dropped()));
  }
}

void AddContainers(const GuestFigures& guest, OpenMetrics& out) {
  out.Begin(Kind::kCounter, "kata_container_cpu_seconds", "Processor time of a container, in the guest.");
  for (const auto& [id, stats] : guest.containers) {
    const auto& cpu = stats.metrics().cpu();
    out.Add({{"container", id}, {"mode", "user"}}, Number(cpu.user_usec()) / kUsPerSecond);
    out.Add({{"container", id}, {"mode", "system"}}, Number(cpu.system_usec()) / kUsPerSecond);
  }
  out.Begin(Kind::kGauge, "kata_container_memory_bytes", "Memory of a container, its page cache included.");
  for (const auto& [id, stats] : guest.containers)
    out.Add({{"container", id}}, Number(stats.metrics().memory().usage()));
  out.Begin(Kind::kGauge, "kata_container_processes", "Processes and threads of a container.");
  for (const auto& [id, stats] : guest.containers)
    out.Add({{"container", id}}, Number(stats.metrics().pids().current()));
  out.Begin(Kind::kCounter, "kata_container_oom_kills", "Processes of a container killed for want of memory.");
  for (const auto& [id, stats] : guest.containers)
    out.Add({{"container", id}}, Number(stats.metrics().memory_events().oom_kill()));
}

void AddStart(OpenMetrics& out) {
  out.Begin(Kind::kHistogram, "kata_start_step_seconds", "How long a step of the pod's start took.");
  int64_t before = 0;
  for (const timeline::Taken& taken : timeline::Steps()) {
    if (before != 0) {
      Histogram took;
      took.Add(static_cast<double>(taken.at_ns - before) / kNsPerSecond);
      out.AddHistogram({{"step", taken.step}}, kCallBounds, took.counts, took.sum);
    }
    before = taken.at_ns;
    if (taken.step == kLastStartStep) break;
  }
}

void AddCalls(const CallTimes& calls, OpenMetrics& out) {
  out.Begin(Kind::kHistogram, "kata_call_seconds",
            "How long a call of containerd took; Wait lasts as its process does.");
  for (const auto& [method, times] : calls.methods())
    out.AddHistogram({{"method", method}}, kCallBounds, times.took.counts, times.took.sum);
  out.Begin(Kind::kCounter, "kata_call_errors", "Calls of containerd that ended with an error.");
  for (const auto& [method, times] : calls.methods()) {
    for (const auto& [code, count] : times.errors)
      out.Add({{"method", method}, {"code", absl::StatusCodeToString(code)}}, Number(count));
  }
}

}  // namespace

Co<std::string> MetricsPage(std::shared_ptr<const PodView> view) {
  Facts facts;
  if (const std::shared_ptr<virtcontainers::Sandbox> sandbox = view->pod->sandbox(); sandbox != nullptr)
    facts = sandbox->Facts();
  std::function<absl::StatusOr<Processes>()> read = [machine = PidOf(facts, "machine_pid"),
                                                     virtiofsd = PidOf(facts, "virtiofsd_pid")] {
    return ReadProcesses(machine, virtiofsd);
  };
  auto processes = co_await RunBlockingFor<Processes>(*view->pool, std::move(read));
  std::vector<std::string> ids = RunningContainers(*view->tasks);
  const std::shared_ptr<const GuestFigures> guest = co_await view->guest->Ask(std::move(ids), kGuestPatience);
  OpenMetrics out;
  AddPod(*view, facts, out);
  if (processes.ok()) AddProcesses(*processes, out);
  AddGuest(guest.get(), out);
  if (guest != nullptr) AddContainers(*guest, out);
  AddStart(out);
  AddCalls(*view->calls, out);
  co_return out.Text();
}

}  // namespace kata::shimv2
