// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/template/template_request.h"

#include <nlohmann/json.hpp>

namespace kata::virtcontainers {
namespace {

using Json = nlohmann::json;

// Each member once, for both directions.
template <typename Visit>
void VisitMembers(TemplateRequest& request, const Visit& visit) {
  hypervisors::VmSpec& spec = request.spec;
  visit("emulator", spec.emulator);
  visit("machine_type", spec.machine_type);
  visit("firmware", spec.firmware);
  visit("kernel", spec.kernel);
  visit("initrd", spec.initrd);
  visit("kernel_params", spec.kernel_params);
  visit("vcpus", spec.vcpus);
  visit("memory_mib", spec.memory_mib);
  visit("vcpus_max", spec.vcpus_max);
  visit("memory_max_mib", spec.memory_max_mib);
  visit("accelerator", spec.accelerator);
  visit("has_disk_thread", spec.has_disk_thread);
  visit("port_disk_threads", spec.port_disk_threads);
  visit("root_ports", spec.root_ports);
  visit("cache_dir", spec.cache_dir);
  visit("store", request.store);
  visit("dial_timeout", request.dial_timeout);
}

}  // namespace

std::string ToText(const TemplateRequest& request) {
  Json document = Json::object();
  TemplateRequest copy = request;
  VisitMembers(copy, [&document](const char* name, auto& value) { document[name] = value; });
  return document.dump();
}

absl::StatusOr<TemplateRequest> ParseTemplateRequest(const std::string& text) {
  TemplateRequest request;
  try {
    const Json document = Json::parse(text);
    VisitMembers(request, [&document](const char* name, auto& value) { document.at(name).get_to(value); });
  } catch (const Json::exception& e) {
    return absl::InvalidArgumentError(absl::StrCat("reading what template is wanted: ", e.what()));
  }
  request.spec.is_cloneable = true;
  return request;
}

}  // namespace kata::virtcontainers
