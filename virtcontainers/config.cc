// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/config.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>

#include <toml++/toml.h>

#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

constexpr char kBodyName[] = "ConfigBody";
constexpr char kEtcFile[] = "/etc/kata-containers/configuration.toml";
constexpr char kShareFile[] = "/share/defaults/kata-containers/configuration.toml";
constexpr int64_t kMemoryMibMin = 64;
constexpr int64_t kMemoryMibMax = 1 << 20;
constexpr int64_t kVcpusMax = 64;
constexpr int64_t kSecondsMax = 3600;

// Sets one key; the error is the cause only, the caller adds file, line and key.
using Setter = std::function<absl::Status(const toml::node& value)>;

Setter Text(std::string& out, const std::string& prefix) {
  return [&out, prefix](const toml::node& value) -> absl::Status {
    auto text = value.value<std::string>();
    if (!text) return absl::InvalidArgumentError("a string is needed");
    const std::string mark = "@PREFIX@";
    for (size_t at = text->find(mark); at != std::string::npos; at = text->find(mark)) {
      text->replace(at, mark.size(), prefix);
    }
    out = *text;
    return absl::OkStatus();
  };
}

Setter Number(uint32_t& out, int64_t low, int64_t high) {
  return [&out, low, high](const toml::node& value) -> absl::Status {
    auto number = value.value<int64_t>();
    if (!value.is_integer() || !number || *number < low || *number > high) {
      return absl::InvalidArgumentError(
          absl::StrCat("a whole number from ", low, " to ", high, " is needed"));
    }
    out = static_cast<uint32_t>(*number);
    return absl::OkStatus();
  };
}

Setter Switch(bool& out) {
  return [&out](const toml::node& value) -> absl::Status {
    if (!value.is_boolean()) return absl::InvalidArgumentError("true or false is needed");
    out = *value.value<bool>();
    return absl::OkStatus();
  };
}

template <typename T>
Setter Choice(T& out, std::map<std::string, T> choices) {
  return [&out, choices = std::move(choices)](const toml::node& value) -> absl::Status {
    auto text = value.value<std::string>();
    auto at = text ? choices.find(*text) : choices.end();
    if (at == choices.end()) {
      std::string names;
      for (const auto& [name, unused] : choices)
        absl::StrAppend(&names, names.empty() ? "" : ", ", "\"", name, "\"");
      return absl::InvalidArgumentError(absl::StrCat("one of ", names, " is needed"));
    }
    out = at->second;
    return absl::OkStatus();
  };
}

using Table = std::map<std::string, Setter>;

std::map<std::string, Table> Schema(Config& config, const std::string& prefix) {
  using hypervisors::Accelerator;
  std::map<std::string, std::string> caches = {
      {"auto", "auto"}, {"always", "always"}, {"never", "none"}, {"none", "none"}};
  return {
      {"hypervisor.qemu",
       {{"path", Text(config.path, prefix)},
        {"kernel", Text(config.kernel, prefix)},
        {"initrd", Text(config.initrd, prefix)},
        {"machine_type", Text(config.machine_type, prefix)},
        {"firmware", Text(config.firmware, prefix)},
        {"kernel_params", Text(config.kernel_params, prefix)},
        {"accelerator", Choice<Accelerator>(config.accelerator, {{"auto", Accelerator::kAuto},
                                                                 {"kvm", Accelerator::kKvm},
                                                                 {"tcg", Accelerator::kTcg}})},
        {"default_vcpus", Number(config.default_vcpus, 1, kVcpusMax)},
        {"default_memory", Number(config.default_memory, kMemoryMibMin, kMemoryMibMax)},
        {"shared_fs", Choice<SharedFs>(config.shared_fs, {{"virtio-fs", SharedFs::kVirtioFs},
                                                          {"virtio-9p", SharedFs::k9p}})},
        {"virtio_fs_daemon", Text(config.virtio_fs_daemon, prefix)},
        {"virtio_fs_cache", Choice<std::string>(config.virtio_fs_cache, caches)},
        {"agent_transport",
         Choice<AgentTransport>(config.agent_transport,
                                {{"auto", AgentTransport::kAuto},
                                 {"vsock", AgentTransport::kVsock},
                                 {"virtio-serial", AgentTransport::kVirtioSerial},
                                 {"vhost-user-vsock", AgentTransport::kVhostUserVsock}})},
        {"vhost_user_vsock_daemon", Text(config.vhost_user_vsock_daemon, prefix)}}},
      {"runtime",
       {{"enable_debug", Switch(config.enable_debug)},
        {"create_container_timeout", Number(config.create_container_timeout, 1, kSecondsMax)}}},
      {"agent.kata", {{"dial_timeout", Number(config.dial_timeout, 1, kSecondsMax)}}},
  };
}

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({replaced, row[j] + 1, row[j - 1] + 1}));
    }
  }
  return row[b.size()];
}

template <typename Map>
std::string Nearest(const Map& known, const std::string& name) {
  std::string best;
  for (const auto& [key, unused] : known) {
    if (best.empty() || EditDistance(key, name) < EditDistance(best, name)) best = key;
  }
  return best;
}

class Reader {
 public:
  Reader(std::string file, std::map<std::string, Table> schema)
      : file_(std::move(file)), schema_(std::move(schema)) {}

  absl::Status Read(const toml::table& table, const std::string& path) {
    for (const auto& [key, value] : table) {
      const std::string name(key.str());
      const std::string full = path.empty() ? name : absl::StrCat(path, ".", name);
      if (value.is_table()) {
        const bool is_known = std::any_of(schema_.begin(), schema_.end(), [&](const auto& entry) {
          return entry.first == full || entry.first.compare(0, full.size() + 1, full + ".") == 0;
        });
        if (!is_known)
          return At(value, absl::StrCat("unknown table [", full, "]; did you mean [",
                                        Nearest(schema_, full), "]?"));
        RETURN_IF_ERROR(Read(*value.as_table(), full));
        continue;
      }
      auto section = schema_.find(path);
      if (section == schema_.end())
        return At(value, absl::StrCat("key \"", name, "\" stands outside of every known table"));
      auto setter = section->second.find(name);
      if (setter == section->second.end()) {
        return At(value, absl::StrCat("unknown key \"", name, "\" in [", path, "]; did you mean \"",
                                      Nearest(section->second, name), "\"?"));
      }
      if (absl::Status status = setter->second(value); !status.ok()) {
        return At(value, absl::StrCat("key \"", name, "\": ", status.message()));
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status At(const toml::node& node, const std::string& what) const {
    return absl::InvalidArgumentError(
        absl::StrCat("configuration \"", file_, "\" line ", node.source().begin.line, ": ", what));
  }

  std::string file_;
  std::map<std::string, Table> schema_;
};

// `text` null: the file's own.
absl::Status ReadInto(Config& config, const std::string& file, const std::string& prefix,
                      const std::string* text = nullptr) {
  try {
    const toml::table table = text != nullptr ? toml::parse(*text, file) : toml::parse_file(file);
    return Reader(file, Schema(config, prefix)).Read(table, "");
  } catch (const toml::parse_error& error) {
    return absl::InvalidArgumentError(absl::StrCat("configuration \"", file, "\" line ",
                                                   error.source().begin.line, ": ",
                                                   std::string(error.description())));
  }
}

}  // namespace

absl::StatusOr<Config> LoadConfig(const std::string& prefix, const std::string& explicit_path,
                                  const std::string& body) {
  Config config;
  config.file = explicit_path;
  if (config.file.empty())
    config.file = ::access(kEtcFile, F_OK) == 0 ? kEtcFile : prefix + kShareFile;
  const bool is_body_enough = explicit_path.empty() && !body.empty();
  if (is_body_enough && ::access(config.file.c_str(), F_OK) != 0) {
    config.file = kBodyName;
    RETURN_IF_ERROR(ReadInto(config, kBodyName, prefix, &body));
    return config;
  }
  if (::access(config.file.c_str(), R_OK) != 0) {
    return ErrnoStatus(errno, absl::StrCat("reading configuration \"", config.file, "\""));
  }
  RETURN_IF_ERROR(ReadInto(config, config.file, prefix));
  std::vector<std::string> drop_ins;
  std::error_code error;
  const auto directory = std::filesystem::path(config.file).parent_path() / "config.d";
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (entry.path().extension() == ".toml") drop_ins.push_back(entry.path().string());
  }
  std::sort(drop_ins.begin(), drop_ins.end());
  for (const std::string& drop_in : drop_ins) RETURN_IF_ERROR(ReadInto(config, drop_in, prefix));
  if (!body.empty()) RETURN_IF_ERROR(ReadInto(config, kBodyName, prefix, &body));
  return config;
}

}  // namespace kata::virtcontainers
