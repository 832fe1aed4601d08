// SPDX-License-Identifier: Apache-2.0
// The one owner of a sandbox's life: it comes with the first container of a pod and goes with the last, or with a
// keeper, whose it is whatever containers come and go; in any case when the shim ends. Io thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "proto/base/coro.h"
#include "proto/schema/wire.pb.h"
#include "shimv2/pod/pod_description.h"
#include "virtcontainers/sandbox.h"

namespace kata::shimv2 {

struct PodOptions {
  std::string socket_path;  // where this shim listens
  wire::Any start_options;  // given with `start`; those of Create win
};

// virtcontainers::Sandbox::Make; tests put another one in.
using SandboxMaker = std::function<std::shared_ptr<virtcontainers::Sandbox>(virtcontainers::SandboxOptions)>;

// The sandbox's name on the host: "<id>-<begin of the digest in its socket's name>". An id is unique within one
// namespace of one containerd only, and others may run a container of the same id.
std::string SandboxName(const std::string& sandbox_id, const std::string& socket_path);

// Whose pod it is. Known once its sandbox was asked for.
struct PodIdentity {
  std::string sandbox_id;     // its caller's
  std::string sandbox_name;   // SandboxName
  std::string pod_name;       // as people know it; empty: it has none
  std::string pod_namespace;  // of Kubernetes
  int64_t created_at_ns = 0;  // since 1970
};

class PodSandbox : public std::enable_shared_from_this<PodSandbox> {
 public:
  // `pool` reads the configuration; it outlives the sandbox.
  PodSandbox(asio::any_io_executor executor, asio::thread_pool& pool, PodOptions options, SandboxMaker make_sandbox);

  // There is a sandbox after this, which may still be starting: an error of its start comes from its CreateContainer.
  // FailedPrecondition where none may be made: for a further container of a pod whose sandbox has ended, and for any
  // while there is a keeper. Unavailable while it is being stopped.
  Co<absl::Status> Ensure(PodDescription pod);
  // From now on the caller makes the sandbox, with Start, and ends it, with Stop. AlreadyExists when there is a keeper
  // or a sandbox.
  absl::Status Keep();
  bool is_kept() const { return is_kept_; }
  // The keeper's: makes the sandbox; returns when it runs, or with the reason why it does not.
  Co<absl::Status> Start(PodDescription pod);
  // Null when there is none, also once Stop was called.
  std::shared_ptr<virtcontainers::Sandbox> sandbox() const { return sandbox_; }
  // Ends the sandbox with all that is in it, one that is being made too; returns when it is gone, whoever has asked
  // first. Idempotent.
  Co<void> Stop();
  // Stop, and no sandbox comes any more: a Create that is under way fails.
  Co<void> End();
  // One line for the log.
  std::string Describe() const;
  const PodIdentity& identity() const { return identity_; }
  // "none", "starting", "running", "failed", "stopping" or "ended".
  std::string StateWord() const;
  // Why the sandbox did not start; OK when it has, or may still.
  absl::Status StartStatus() const;

 private:
  // One at a time; OK at once when there is a sandbox.
  Co<absl::Status> MakeOnce(PodDescription pod);
  Co<absl::Status> MakeSandbox(PodDescription pod);
  static Co<absl::Status> StartSandbox(std::shared_ptr<virtcontainers::Sandbox> sandbox,
                                       std::shared_ptr<Outcome> started);

  asio::any_io_executor executor_;
  asio::thread_pool& pool_;
  PodOptions options_;
  SandboxMaker make_sandbox_;
  PodIdentity identity_;
  std::shared_ptr<virtcontainers::Sandbox> sandbox_;
  std::shared_ptr<Outcome> started_;  // of the sandbox
  bool is_kept_ = false;
  bool is_ended_ = false;
  std::shared_ptr<Latch> made_;     // of the making under way
  std::shared_ptr<Latch> stopped_;  // of the stop under way
};

}  // namespace kata::shimv2
