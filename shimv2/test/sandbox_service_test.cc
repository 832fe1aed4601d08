// SPDX-License-Identifier: Apache-2.0
#include "shimv2/sandbox/sandbox_service.h"

#include <gtest/gtest.h>

#include "proto/schema/metrics_v1.pb.h"
#include "proto/schema/metrics_v2.pb.h"
#include "proto/schema/pod_config.pb.h"
#include "shimv2/test/task_service_fixture.h"

namespace kata::shimv2 {
namespace {

namespace api = containerd::runtime::sandbox::v1;

constexpr char kOfPod[] = R"("io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-id":"pod")";
constexpr auto kNotFound = absl::StatusCode::kNotFound;
constexpr auto kFailedPrecondition = absl::StatusCode::kFailedPrecondition;

class SandboxServiceTest : public TaskServiceTest {
 protected:
  SandboxServiceTest() {
    bundle_ = directory_ + "/pod";
    std::filesystem::create_directories(bundle_);
    std::filesystem::create_directories(directory_ + "/host-etc");
    EXPECT_TRUE(WriteFileAtomically(directory_ + "/host-etc/hosts", "127.0.0.1 localhost\n", 0644).ok());
    EXPECT_TRUE(WriteFileAtomically(directory_ + "/host-etc/resolv.conf", "nameserver 192.0.2.1\n", 0644).ok());
    SandboxServiceOptions options;
    options.sandbox_id = "pod";
    options.host_etc = directory_ + "/host-etc";
    options.shut_down = [this] { tasks_->RequestShutDown(); };
    service_ = std::make_shared<SandboxService>(io_.get_executor(), pool_, pod_, std::move(options));
  }

  api::CreateSandboxRequest CreateSandboxRequest() const {
    api::CreateSandboxRequest request;
    request.set_sandbox_id("pod");
    request.set_bundle_path(bundle_);
    request.set_netns_path("/run/netns/pod");
    return request;
  }
  static void SetConfig(const runtime::v1::PodSandboxConfig& config, api::CreateSandboxRequest& request) {
    request.mutable_options()->set_type_url("runtime.v1.PodSandboxConfig");
    request.mutable_options()->set_value(config.SerializeAsString());
  }
  static api::SandboxId Id(const std::string& id) {
    api::SandboxId request;
    request.set_sandbox_id(id);
    return request;
  }
  static api::StopSandboxRequest StopRequest(const std::string& id, uint32_t seconds = 0) {
    api::StopSandboxRequest request;
    request.set_sandbox_id(id);
    request.set_timeout_secs(seconds);
    return request;
  }
  static api::SandboxStatusRequest StatusRequest(const std::string& id, bool verbose = false) {
    api::SandboxStatusRequest request;
    request.set_sandbox_id(id);
    request.set_verbose(verbose);
    return request;
  }
  absl::Status CreateSandbox() { return Call(service_->CreateSandbox({}, CreateSandboxRequest())).status(); }
  absl::StatusOr<api::StartSandboxResponse> StartSandbox() { return Call(service_->StartSandbox({}, Id("pod"))); }
  absl::Status StopSandbox() { return Call(service_->StopSandbox({}, StopRequest("pod"))).status(); }
  absl::Status ShutDownSandbox() { return Call(service_->ShutdownSandbox({}, Id("pod"))).status(); }
  absl::Status CreateAndStart() {
    absl::Status created = CreateSandbox();
    return created.ok() ? StartSandbox().status() : created;
  }
  absl::Status CreateOfPod(const std::string& id) {
    return Call(tasks_->Create({}, CreateRequest(id, kOfPod))).status();
  }
  std::string StateOfSandbox() {
    auto status = Call(service_->SandboxStatus({}, StatusRequest("pod")));
    EXPECT_TRUE(status.ok()) << status.status();
    return status.ok() ? status->state() : "";
  }

  std::string bundle_;
  std::shared_ptr<SandboxService> service_;
};

TEST_F(SandboxServiceTest, OfAnotherIdNothingIsKnown) {
  ASSERT_TRUE(CreateAndStart().ok());

  api::CreateSandboxRequest other = CreateSandboxRequest();
  other.set_sandbox_id("other");
  EXPECT_EQ(Call(service_->CreateSandbox({}, other)).status().code(), kNotFound);
  EXPECT_EQ(Call(service_->StartSandbox({}, Id("other"))).status().code(), kNotFound);
  EXPECT_EQ(Call(service_->Platform({}, Id("other"))).status().code(), kNotFound);
  EXPECT_EQ(Call(service_->StopSandbox({}, StopRequest("other"))).status().code(), kNotFound);
  EXPECT_EQ(Call(service_->WaitSandbox({}, Id("other"))).status().code(), kNotFound);
  EXPECT_EQ(Call(service_->SandboxStatus({}, StatusRequest("other"))).status().code(), kNotFound);
  EXPECT_EQ(Call(service_->PingSandbox({}, Id("other"))).status().code(), kNotFound);
  EXPECT_EQ(Call(service_->ShutdownSandbox({}, Id("other"))).status().code(), kNotFound);
  EXPECT_EQ(Call(service_->SandboxMetrics({}, Id(""))).status().code(), kNotFound);
}

TEST_F(SandboxServiceTest, BeforeItIsCreatedNothingIsKnown) {
  EXPECT_EQ(StartSandbox().status().code(), kNotFound);
  EXPECT_EQ(StopSandbox().code(), kNotFound);
  EXPECT_EQ(Call(service_->WaitSandbox({}, Id("pod"))).status().code(), kNotFound);
  EXPECT_EQ(Call(service_->SandboxStatus({}, StatusRequest("pod"))).status().code(), kNotFound);
}

TEST_F(SandboxServiceTest, IsCreatedOnce) {
  ASSERT_TRUE(CreateSandbox().ok());

  EXPECT_EQ(CreateSandbox().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(sandbox_, nullptr);  // no machine before its start
  EXPECT_EQ(StateOfSandbox(), "SANDBOX_NOTREADY");
}

TEST_F(SandboxServiceTest, CreateThatFailedMayBeMadeAgain) {
  api::CreateSandboxRequest request = CreateSandboxRequest();
  request.set_bundle_path("relative");
  const absl::Status failed = Call(service_->CreateSandbox({}, request)).status();

  EXPECT_EQ(failed.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(failed.message(), "creating sandbox \"pod\": bundle_path \"relative\" is not an absolute path");
  EXPECT_TRUE(CreateSandbox().ok());
}

TEST_F(SandboxServiceTest, OptionsThatAreNoMessageAreRefused) {
  api::CreateSandboxRequest request = CreateSandboxRequest();
  request.mutable_options()->set_type_url("runtime.v1.PodSandboxConfig");
  request.mutable_options()->set_value("\xff");

  EXPECT_EQ(Call(service_->CreateSandbox({}, request)).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(SandboxServiceTest, SandboxIsMadeAsThePodSays) {
  runtime::v1::PodSandboxConfig config;
  config.set_hostname("web");
  config.mutable_dns_config()->add_servers("10.0.0.10");
  config.mutable_dns_config()->add_searches("default.svc");
  config.mutable_dns_config()->add_options("ndots:5");
  config.mutable_linux_config()->set_cgroup_parent("/kubepods/pod7");
  (*config.mutable_linux_config()->mutable_sysctls())["kernel.shm_rmid_forced"] = "1";
  auto* namespaces = config.mutable_linux_config()->mutable_security_context()->mutable_namespace_options();
  namespaces->set_network(runtime::v1::NODE);
  namespaces->set_pid(runtime::v1::CONTAINER);
  config.mutable_linux_config()->mutable_resources()->set_memory_limit_in_bytes(int64_t{900} << 20);
  api::CreateSandboxRequest request = CreateSandboxRequest();
  SetConfig(config, request);

  ASSERT_TRUE(Call(service_->CreateSandbox({}, request)).ok());
  ASSERT_TRUE(StartSandbox().ok());

  EXPECT_EQ(sandbox_->options.id, "pod-01234567");
  EXPECT_EQ(sandbox_->options.netns_path, "/run/netns/pod");
  EXPECT_EQ(sandbox_->options.hostname, "web");
  EXPECT_EQ(sandbox_->options.cgroup_path, "/kubepods/pod7/pod");
  EXPECT_GT(sandbox_->options.config.default_memory, 900u);
  ASSERT_TRUE(sandbox_->options.pod.has_value());
  EXPECT_EQ(sandbox_->options.pod->sysctls.at("kernel.shm_rmid_forced"), "1");
  EXPECT_EQ(sandbox_->options.pod->etc_directory, bundle_ + "/etc");
  EXPECT_EQ(sandbox_->options.pod->host_namespaces, (std::set<std::string>{"network"}));
  EXPECT_FALSE(sandbox_->options.pod->shares_pids);
  EXPECT_TRUE(sandbox_->options.pod->uid_mappings.empty());
  EXPECT_EQ(ReadFile(bundle_ + "/etc/hostname", 100).value_or(""), "web\n");
  EXPECT_EQ(ReadFile(bundle_ + "/etc/hosts", 100).value_or(""), "127.0.0.1 localhost\n");
  EXPECT_EQ(ReadFile(bundle_ + "/etc/resolv.conf", 100).value_or(""),
            "search default.svc\nnameserver 10.0.0.10\noptions ndots:5\n");
}

TEST_F(SandboxServiceTest, PodMayHaveAUserNamespaceAndShareItsPids) {
  runtime::v1::PodSandboxConfig config;
  auto* namespaces = config.mutable_linux_config()->mutable_security_context()->mutable_namespace_options();
  namespaces->set_pid(runtime::v1::POD);
  runtime::v1::IdMapping* gid = namespaces->mutable_userns_options()->add_gids();
  gid->set_host_id(200000);
  gid->set_length(1000);
  *namespaces->mutable_userns_options()->add_uids() = *gid;
  api::CreateSandboxRequest request = CreateSandboxRequest();
  SetConfig(config, request);

  ASSERT_TRUE(Call(service_->CreateSandbox({}, request)).ok());
  ASSERT_TRUE(StartSandbox().ok());

  EXPECT_TRUE(sandbox_->options.pod->shares_pids);
  ASSERT_EQ(sandbox_->options.pod->gid_mappings.size(), 1u);
  EXPECT_EQ(sandbox_->options.pod->gid_mappings[0].host, 200000u);
  EXPECT_EQ(sandbox_->options.pod->gid_mappings[0].container, 0u);
  EXPECT_EQ(sandbox_->options.pod->uid_mappings[0].size, 1000u);
}

TEST_F(SandboxServiceTest, WhatAPodDoesNotSayIsTheHosts) {
  ASSERT_TRUE(CreateAndStart().ok());

  EXPECT_EQ(sandbox_->options.hostname, HostName());
  EXPECT_TRUE(sandbox_->options.pod->shares_pids);  // CRI's POD is 0
  EXPECT_EQ(ReadFile(bundle_ + "/etc/hostname", 300).value_or(""), HostName() + "\n");
  EXPECT_EQ(ReadFile(bundle_ + "/etc/resolv.conf", 100).value_or(""), "nameserver 192.0.2.1\n");
}

TEST_F(SandboxServiceTest, WordsForTheResolverAreWords) {
  runtime::v1::PodSandboxConfig config;
  config.mutable_dns_config()->add_servers("10.0.0.10\nnameserver 192.0.2.2");
  api::CreateSandboxRequest request = CreateSandboxRequest();
  SetConfig(config, request);

  EXPECT_EQ(Call(service_->CreateSandbox({}, request)).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(SandboxServiceTest, AnnotationOfThePodMustBeEnabled) {
  runtime::v1::PodSandboxConfig config;
  (*config.mutable_annotations())["io.katacontainers.config.hypervisor.default_memory"] = "4096";
  api::CreateSandboxRequest request = CreateSandboxRequest();
  SetConfig(config, request);
  ASSERT_TRUE(Call(service_->CreateSandbox({}, request)).ok());

  EXPECT_EQ(StartSandbox().status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(sandbox_, nullptr);
}

TEST_F(SandboxServiceTest, StartTellsTheMachineAndIsTheSameTwice) {
  ASSERT_TRUE(CreateSandbox().ok());
  auto first = StartSandbox();
  auto second = StartSandbox();

  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->pid(), 4711u);
  EXPECT_GT(first->created_at().seconds(), 0);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->SerializeAsString(), first->SerializeAsString());
  EXPECT_EQ(StateOfSandbox(), "SANDBOX_READY");
}

TEST_F(SandboxServiceTest, StartAnswersWhenTheGuestIsReady) {
  boots_slowly_ = true;
  ASSERT_TRUE(CreateSandbox().ok());
  auto starting = Begin(service_->StartSandbox({}, Id("pod")));
  ASSERT_TRUE(RunUntil([&] { return sandbox_ != nullptr; }));
  EXPECT_EQ(StateOfSandbox(), "SANDBOX_NOTREADY");
  EXPECT_FALSE(starting->has_value());

  sandbox_->boot->Set();

  ASSERT_TRUE(RunUntil([&] { return starting->has_value(); }));
  EXPECT_TRUE((*starting)->ok());
}

TEST_F(SandboxServiceTest, FailedStartIsToldAndIsTheEnd) {
  boots_slowly_ = true;
  ASSERT_TRUE(CreateSandbox().ok());
  auto starting = Begin(service_->StartSandbox({}, Id("pod")));
  auto waiting = Begin(service_->WaitSandbox({}, Id("pod")));
  ASSERT_TRUE(RunUntil([&] { return sandbox_ != nullptr; }));
  sandbox_->start_status = absl::DeadlineExceededError("no agent");
  sandbox_->boot->Set();

  ASSERT_TRUE(RunUntil([&] { return starting->has_value() && waiting->has_value(); }));
  EXPECT_EQ((*starting)->status().message(), "no agent");
  EXPECT_EQ((**waiting)->exit_status(), kNotStartedStatus);
  EXPECT_EQ(StartSandbox().status().code(), kFailedPrecondition);
  EXPECT_TRUE(StopSandbox().ok());
  EXPECT_TRUE(sandbox_->is_stopped);
}

TEST_F(SandboxServiceTest, StopBeforeStartIsTheEnd) {
  ASSERT_TRUE(CreateSandbox().ok());
  auto waiting = Begin(service_->WaitSandbox({}, Id("pod")));

  EXPECT_TRUE(StopSandbox().ok());

  ASSERT_TRUE(RunUntil([&] { return waiting->has_value(); }));
  EXPECT_EQ(StartSandbox().status().code(), kFailedPrecondition);
  EXPECT_EQ(sandbox_, nullptr);
}

TEST_F(SandboxServiceTest, StopEndsABootUnderWay) {
  boots_slowly_ = true;
  ASSERT_TRUE(CreateSandbox().ok());
  auto starting = Begin(service_->StartSandbox({}, Id("pod")));
  ASSERT_TRUE(RunUntil([&] { return sandbox_ != nullptr; }));

  EXPECT_TRUE(StopSandbox().ok());

  ASSERT_TRUE(RunUntil([&] { return starting->has_value(); }));
  EXPECT_FALSE((*starting)->ok());
  EXPECT_EQ(StateOfSandbox(), "SANDBOX_NOTREADY");
}

TEST_F(SandboxServiceTest, StopEndsTheContainersAndTheWaitAndMayComeTwice) {
  ASSERT_TRUE(CreateAndStart().ok());
  ASSERT_TRUE(CreateOfPod("a").ok());
  ASSERT_TRUE(Start("a").ok());
  auto waiting = Begin(service_->WaitSandbox({}, Id("pod")));

  EXPECT_TRUE(StopSandbox().ok());
  EXPECT_TRUE(StopSandbox().ok());

  ASSERT_TRUE(RunUntil([&] { return waiting->has_value() && HasEvent("/tasks/exit"); }));
  ASSERT_TRUE((*waiting)->ok());
  EXPECT_EQ((**waiting)->exit_status(), kStoppedStatus);
  EXPECT_GT((**waiting)->exited_at().seconds(), 0);
  EXPECT_EQ(State("a").status(), task::STOPPED);
  EXPECT_TRUE(Delete("a").ok());
  auto status = Call(service_->SandboxStatus({}, StatusRequest("pod", true)));
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->pid(), 0u);
  EXPECT_GT(status->exited_at().seconds(), 0);
}

TEST_F(SandboxServiceTest, StopThatTakesLongerThanAllowedGoesOn) {
  ends_slowly_ = true;
  ASSERT_TRUE(CreateAndStart().ok());

  const absl::Status stopped = Call(service_->StopSandbox({}, StopRequest("pod", 1))).status();
  EXPECT_EQ(stopped.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(stopped.message(), "stopping sandbox \"pod\": it did not end within 1 s");
  sandbox_->end->Set();

  EXPECT_TRUE(StopSandbox().ok());
}

TEST_F(SandboxServiceTest, DeathOfTheMachineEndsTheWait) {
  ASSERT_TRUE(CreateAndStart().ok());
  ASSERT_TRUE(CreateOfPod("a").ok());
  ASSERT_TRUE(Start("a").ok());
  auto waiting = Begin(service_->WaitSandbox({}, Id("pod")));
  auto second = Begin(service_->WaitSandbox({}, Id("pod")));

  sandbox_->Die();

  ASSERT_TRUE(RunUntil([&] { return waiting->has_value() && second->has_value(); }));
  EXPECT_EQ((**waiting)->exit_status(), kEndedStatus);
  EXPECT_EQ(StateOfSandbox(), "SANDBOX_NOTREADY");
  EXPECT_EQ(Call(service_->PingSandbox({}, Id("pod"))).status().code(), kFailedPrecondition);
  EXPECT_EQ(Call(service_->SandboxMetrics({}, Id("pod"))).status().code(), kFailedPrecondition);
  EXPECT_EQ(StartSandbox().status().code(), kFailedPrecondition);
  // Who waits later hears the same.
  EXPECT_EQ(Call(service_->WaitSandbox({}, Id("pod")))->exit_status(), kEndedStatus);
  EXPECT_TRUE(Delete("a").ok());
  EXPECT_TRUE(StopSandbox().ok());
  EXPECT_EQ(Call(service_->WaitSandbox({}, Id("pod")))->exit_status(), kEndedStatus);
}

TEST_F(SandboxServiceTest, ContainersComeAndGoWithoutTheSandbox) {
  ASSERT_TRUE(CreateAndStart().ok());
  auto shut_down = CountReturned(tasks_->WaitShutDown());
  ASSERT_TRUE(CreateOfPod("a").ok());
  EXPECT_EQ(State("a").pid(), 4711u);

  ASSERT_TRUE(Delete("a").ok());
  ASSERT_TRUE(Call(tasks_->Shutdown({}, Of<task::ShutdownRequest>("a"))).ok());

  EXPECT_FALSE(sandbox_->is_stopped);
  EXPECT_TRUE(sandbox_->containers.empty());
  EXPECT_EQ(*shut_down, 0);
  EXPECT_TRUE(CreateOfPod("a").ok());
  EXPECT_EQ(StateOfSandbox(), "SANDBOX_READY");
}

TEST_F(SandboxServiceTest, ContainerThatFailsLeavesTheSandbox) {
  ASSERT_TRUE(CreateAndStart().ok());
  sandbox_->create_status = absl::InvalidArgumentError("no such program");

  EXPECT_FALSE(CreateOfPod("a").ok());

  EXPECT_FALSE(sandbox_->is_stopped);
  EXPECT_EQ(StateOfSandbox(), "SANDBOX_READY");
}

TEST_F(SandboxServiceTest, NoContainerComesBeforeTheStartOrAfterTheStop) {
  ASSERT_TRUE(CreateSandbox().ok());
  EXPECT_EQ(CreateOfPod("early").code(), kFailedPrecondition);
  EXPECT_EQ(Create("alone").code(), kFailedPrecondition);
  ASSERT_TRUE(StartSandbox().ok());
  ASSERT_TRUE(StopSandbox().ok());

  EXPECT_EQ(CreateOfPod("late").code(), kFailedPrecondition);
  EXPECT_EQ(Create("alone").code(), kFailedPrecondition);
}

TEST_F(SandboxServiceTest, ShimOfContainersHasNoSandboxToCreate) {
  ASSERT_TRUE(Create("pod").ok());

  EXPECT_EQ(CreateSandbox().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ShutDownSandbox().code(), kNotFound);
  EXPECT_EQ(Call(service_->SandboxStatus({}, StatusRequest("pod"))).status().code(), kNotFound);
  EXPECT_FALSE(sandbox_->is_stopped);
}

TEST_F(SandboxServiceTest, ShutdownEndsTheSandboxAndThenTheShim) {
  ends_slowly_ = true;
  ASSERT_TRUE(CreateAndStart().ok());
  auto shut_down = CountReturned(tasks_->WaitShutDown());
  auto waiting = Begin(service_->WaitSandbox({}, Id("pod")));
  auto calling = Begin(service_->ShutdownSandbox({}, Id("pod")));
  ASSERT_TRUE(RunUntil([&] { return sandbox_->is_stopped; }));
  EXPECT_EQ(*shut_down, 0);

  sandbox_->end->Set();

  ASSERT_TRUE(RunUntil([&] { return calling->has_value() && waiting->has_value() && *shut_down == 1; }));
  EXPECT_TRUE((*calling)->ok());
  EXPECT_TRUE(ShutDownSandbox().ok());
}

TEST_F(SandboxServiceTest, ShutdownEndsAShimWhoseCreateHasFailed) {
  auto shut_down = CountReturned(tasks_->WaitShutDown());
  api::CreateSandboxRequest request = CreateSandboxRequest();
  request.set_bundle_path("");
  ASSERT_FALSE(Call(service_->CreateSandbox({}, request)).ok());

  EXPECT_TRUE(ShutDownSandbox().ok());

  EXPECT_TRUE(RunUntil([&] { return *shut_down == 1; }));
}

TEST_F(SandboxServiceTest, PlatformIsTheGuests) {
  ASSERT_TRUE(CreateSandbox().ok());
  auto answer = Call(service_->Platform({}, Id("pod")));

  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->platform().os(), "linux");
#if defined(__x86_64__)
  EXPECT_EQ(answer->platform().architecture(), "amd64");
#endif
}

TEST_F(SandboxServiceTest, PingIsAnsweredWhileItRuns) {
  ASSERT_TRUE(CreateSandbox().ok());
  EXPECT_EQ(Call(service_->PingSandbox({}, Id("pod"))).status().code(), kFailedPrecondition);
  ASSERT_TRUE(StartSandbox().ok());

  EXPECT_TRUE(Call(service_->PingSandbox({}, Id("pod"))).ok());
}

TEST_F(SandboxServiceTest, StatusTellsMoreWhenAsked) {
  ASSERT_TRUE(CreateAndStart().ok());
  ASSERT_TRUE(CreateOfPod("a").ok());
  auto brief = Call(service_->SandboxStatus({}, StatusRequest("pod")));
  auto verbose = Call(service_->SandboxStatus({}, StatusRequest("pod", true)));

  ASSERT_TRUE(brief.ok() && verbose.ok());
  EXPECT_EQ(brief->sandbox_id(), "pod");
  EXPECT_EQ(brief->pid(), 4711u);
  EXPECT_TRUE(brief->info().empty());
  EXPECT_FALSE(brief->has_exited_at());
  EXPECT_EQ(verbose->info().at("hypervisor"), "fake");
  EXPECT_EQ(verbose->info().at("containers"), "1");
}

TEST_F(SandboxServiceTest, MetricsAreThoseOfAllContainers) {
  ASSERT_TRUE(CreateAndStart().ok());
  sandbox_->stats.mutable_metrics()->mutable_cpu()->set_usage_usec(5);
  auto answer = Call(service_->SandboxMetrics({}, Id("pod")));

  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->metrics().id(), "pod");
  EXPECT_GT(answer->metrics().timestamp().seconds(), 0);
  const std::string& type = answer->metrics().data().type_url();
  if (type == "io.containerd.cgroups.v2.Metrics") {
    io::containerd::cgroups::v2::Metrics metrics;
    ASSERT_TRUE(metrics.ParseFromString(answer->metrics().data().value()));
    EXPECT_EQ(metrics.cpu().usage_usec(), 5u);
  } else {
    ASSERT_EQ(type, "io.containerd.cgroups.v1.Metrics");
    io::containerd::cgroups::v1::Metrics metrics;
    ASSERT_TRUE(metrics.ParseFromString(answer->metrics().data().value()));
    EXPECT_EQ(metrics.cpu().usage().total(), 5000u);
  }
}

}  // namespace
}  // namespace kata::shimv2
