// SPDX-License-Identifier: Apache-2.0
// Programs that the host's root runs in a container without containerd, for kata-ctl exec: execs of the Task API as any
// other, whose ends are kept for a while for who asks. Io thread only.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "shimv2/task/task_service.h"

namespace kata::shimv2 {

inline constexpr size_t kManagementExecsMax = 16;  // that run, or whose end nobody has asked for
inline constexpr std::chrono::seconds kExecWaitPatience{5};
inline constexpr std::chrono::seconds kExecKept{30};  // after its end

class ManagementExecs : public std::enable_shared_from_this<ManagementExecs> {
 public:
  ManagementExecs(asio::any_io_executor executor, std::shared_ptr<TaskService> tasks)
      : executor_(executor), tasks_(std::move(tasks)) {}

  // `request`: JSON with "container", "process" (OCI), "terminal", and the paths of fifos "stdin", "stdout", "stderr",
  // each of which may be missing. Returns the id of the exec, which runs. ResourceExhausted for one too many.
  Co<absl::StatusOr<std::string>> Start(std::string request);
  // Nothing while it still runs after kExecWaitPatience. NotFound for one that is unknown, or over for too long.
  Co<absl::StatusOr<std::optional<uint32_t>>> Wait(std::string exec_id);
  Co<absl::Status> Resize(std::string exec_id, uint32_t width, uint32_t height);
  // What is in the fifo is still read.
  Co<absl::Status> CloseStdin(std::string exec_id);
  Co<absl::Status> Kill(std::string exec_id, uint32_t signal);

 private:
  struct Exec {
    explicit Exec(const asio::any_io_executor& executor) : over(executor) {}
    std::string container_id;
    Latch over;
    uint32_t status = 0;
  };

  absl::StatusOr<std::shared_ptr<Exec>> Find(const std::string& exec_id) const;
  // With the ids of an exec that is known.
  template <typename Request>
  absl::StatusOr<Request> RequestFor(const std::string& exec_id) const;
  Co<absl::Status> Run(std::string exec_id, containerd::task::ExecProcessRequest request);
  static Co<absl::Status> Watch(std::shared_ptr<ManagementExecs> self, std::string exec_id, std::shared_ptr<Exec> exec);

  asio::any_io_executor executor_;
  std::shared_ptr<TaskService> tasks_;
  std::map<std::string, std::shared_ptr<Exec>> execs_;
  uint64_t last_ = 0;
};

}  // namespace kata::shimv2
