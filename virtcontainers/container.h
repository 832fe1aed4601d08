// SPDX-License-Identifier: Apache-2.0
// The one Container of this library: its processes and the calls to the agent about them. Io thread
// only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "virtcontainers/process.h"
#include "virtcontainers/sandbox.h"

namespace kata::virtcontainers {

// Execs of one container that are known at once.
inline constexpr size_t kExecsMax = 1024;
// Calls that the agent answers at once; a guest that takes longer does not answer at all.
inline constexpr std::chrono::seconds kAgentCallTimeout{30};

class GuestContainer final : public Container, public std::enable_shared_from_this<GuestContainer> {
 public:
  GuestContainer(asio::any_io_executor executor, std::shared_ptr<ttrpc::Connection> connection,
                 ContainerOptions options);

  const std::string& id() const override { return options_.id; }
  std::shared_ptr<Process> init() const override { return init_; }
  std::shared_ptr<Process> FindExec(const std::string& exec_id) const override;
  std::vector<std::string> ExecIds() const override;
  Co<absl::Status> Start() override;
  absl::StatusOr<std::shared_ptr<Process>> AddExec(ExecOptions options) override;
  Co<absl::Status> StartExec(std::string exec_id) override;
  Co<absl::Status> Kill(std::string exec_id, uint32_t signal, bool all) override;
  Co<absl::Status> ResizeTerminal(std::string exec_id, uint32_t width, uint32_t height) override;
  Co<absl::Status> DeleteExec(std::string exec_id) override;

  const ContainerOptions& options() const { return options_; }
  std::shared_ptr<GuestProcess> guest_init() const { return init_; }
  // Every process that has not stopped stops with `status`.
  void StopAll(uint32_t status);

 private:
  struct Exec {
    ExecOptions options;
    std::shared_ptr<GuestProcess> process;
    bool is_in_guest = false;
    uint32_t width = 0;  // of the terminal, remembered until the process exists
    uint32_t height = 0;
  };
  absl::StatusOr<std::shared_ptr<Exec>> Find(const std::string& exec_id) const;

  asio::any_io_executor executor_;
  std::shared_ptr<ttrpc::Connection> connection_;
  ContainerOptions options_;
  std::shared_ptr<GuestProcess> init_;
  std::map<std::string, std::shared_ptr<Exec>> execs_;
};

}  // namespace kata::virtcontainers
