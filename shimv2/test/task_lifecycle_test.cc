// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "shimv2/test/task_service_fixture.h"

namespace kata::shimv2 {
namespace {

constexpr char kOfPod[] = R"("io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-id":"pod")";
constexpr char kIsPod[] = R"("io.kubernetes.cri.container-type":"sandbox","io.kubernetes.cri.sandbox-id":"pod")";

TEST_F(TaskServiceTest, EventsComeInOrder) {
  ASSERT_TRUE(Create("box").ok());
  ASSERT_TRUE(Start("box").ok());
  ASSERT_TRUE(Exec("box", "e").ok());
  ASSERT_TRUE(Start("box", "e").ok());
  // The machine dies: init is the first that is known to have stopped.
  Fake("box")->StopAll(137);
  ASSERT_TRUE(RunUntil([&] { return publisher_->topics.size() >= 6; }));
  ASSERT_TRUE(Delete("box").ok());

  const std::vector<std::string> expected = {"/tasks/create",       "/tasks/start", "/tasks/exec-added",
                                             "/tasks/exec-started", "/tasks/exit",  "/tasks/exit",
                                             "/tasks/delete"};
  EXPECT_EQ(publisher_->topics, expected);
  containerd::events::TaskExit last;
  ASSERT_TRUE(last.ParseFromString(publisher_->payloads[5]));
  EXPECT_EQ(last.id(), "box");
}

TEST_F(TaskServiceTest, ContainerWithoutABundleIsForgotten) {
  EXPECT_FALSE(tasks_->HasTasks());
  ASSERT_TRUE(Create("box").ok());
  EXPECT_TRUE(tasks_->HasTasks());

  std::filesystem::remove_all(directory_ + "/box");

  EXPECT_FALSE(tasks_->HasTasks());
}

TEST_F(TaskServiceTest, ExitNeverOvertakesTheStart) {
  ASSERT_TRUE(Create("box").ok());
  Fake("box")->init_ends_in_start = true;
  Fake("box")->gate = std::make_shared<Latch>(io_.get_executor());

  auto started = Begin(tasks_->Start({}, Of<task::StartRequest>("box", "")));
  ASSERT_TRUE(RunUntil([&] { return State("box").status() == task::STOPPED; }));
  EXPECT_FALSE(HasEvent("/tasks/exit"));
  Fake("box")->gate->Set();
  ASSERT_TRUE(RunUntil([&] { return HasEvent("/tasks/exit"); }));

  EXPECT_EQ(publisher_->topics, (std::vector<std::string>{"/tasks/create", "/tasks/start", "/tasks/exit"}));
  EXPECT_TRUE((*started)->ok());
}

TEST_F(TaskServiceTest, DeleteOfACreatedContainerTellsOfItsExitFirst) {
  ASSERT_TRUE(Create("box").ok());

  EXPECT_TRUE(Delete("box").ok());

  EXPECT_EQ(publisher_->topics, (std::vector<std::string>{"/tasks/create", "/tasks/exit", "/tasks/delete"}));
}

TEST_F(TaskServiceTest, RunningContainerIsNotDeletedAndASecondDeleteFindsNothing) {
  ASSERT_TRUE(Create("box").ok());
  ASSERT_TRUE(Start("box").ok());

  EXPECT_EQ(Delete("box").code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(Kill("box", SIGTERM).ok());
  EXPECT_EQ(Kill("box", SIGTERM).message(), "process already finished");
  auto deleted = Call(tasks_->Delete({}, Of<task::DeleteRequest>("box", "")));
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(deleted->exit_status(), 143u);
  EXPECT_EQ(deleted->pid(), 4711u);
  EXPECT_EQ(Delete("box").code(), absl::StatusCode::kNotFound);
}

TEST_F(TaskServiceTest, WaitersAreReleasedWhenTheContainerIsDeleted) {
  ASSERT_TRUE(Create("box").ok());
  ASSERT_TRUE(Exec("box", "e").ok());
  auto first = Begin(tasks_->Wait({}, Of<task::WaitRequest>("box", "")));
  auto second = Begin(tasks_->Wait({}, Of<task::WaitRequest>("box", "")));
  auto of_exec = Begin(tasks_->Wait({}, Of<task::WaitRequest>("box", "e")));

  ASSERT_TRUE(Delete("box").ok());

  ASSERT_TRUE(RunUntil([&] { return first->has_value() && second->has_value() && of_exec->has_value(); }));
  EXPECT_EQ((**first)->exit_status(), 137u);
  EXPECT_EQ((**second)->exit_status(), 137u);
  EXPECT_NE((**of_exec)->exit_status(), 0u);
}

TEST_F(TaskServiceTest, DeleteEndsABootThatNobodyWaitsFor) {
  boots_slowly_ = true;
  auto creating = Begin(tasks_->Create({}, CreateRequest("box")));
  ASSERT_TRUE(RunUntil([&] { return sandbox_ != nullptr; }));
  auto shut_down = CountReturned(tasks_->WaitShutDown());

  EXPECT_EQ(Delete("box").code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(Call(tasks_->Shutdown({}, Of<task::ShutdownRequest>("box"))).ok());

  ASSERT_TRUE(RunUntil([&] { return *shut_down == 1; }));
  EXPECT_TRUE(sandbox_->is_stopped);
  EXPECT_FALSE((*creating)->ok());
  EXPECT_FALSE(HasEvent("/tasks/create"));
}

TEST_F(TaskServiceTest, DeletedContainerOfAPodIsRemovedOnceItIsMade) {
  ASSERT_TRUE(Call(tasks_->Create({}, CreateRequest("pod", kIsPod))).ok());
  sandbox_->boot = std::make_shared<Latch>(io_.get_executor());
  auto creating = Begin(tasks_->Create({}, CreateRequest("a", kOfPod)));

  EXPECT_EQ(Delete("a").code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(Call(tasks_->Shutdown({}, Of<task::ShutdownRequest>("a"))).ok());
  EXPECT_FALSE(sandbox_->is_stopped);
  sandbox_->boot->Set();

  ASSERT_TRUE(RunUntil([&] { return creating->has_value(); }));
  EXPECT_EQ((*creating)->status().code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(sandbox_->containers.contains("a"));
  EXPECT_TRUE(sandbox_->containers.contains("pod"));
  // The id is free again.
  EXPECT_TRUE(Call(tasks_->Create({}, CreateRequest("a", kOfPod))).ok());
}

TEST_F(TaskServiceTest, EveryStopWaitsForTheEnd) {
  ends_slowly_ = true;
  ASSERT_TRUE(Create("box").ok());
  auto first = CountReturned(pod_->Stop());
  auto second = CountReturned(pod_->Stop());
  ASSERT_TRUE(RunUntil([&] { return sandbox_->is_stopped; }));
  EXPECT_EQ(State("box").status(), task::CREATED);
  EXPECT_EQ(*first + *second, 0);

  sandbox_->end->Set();

  EXPECT_TRUE(RunUntil([&] { return *first + *second == 2; }));
}

TEST_F(TaskServiceTest, KillOfASilentGuestIsAnsweredAndTakenLater) {
  ASSERT_TRUE(Create("box").ok());
  ASSERT_TRUE(Start("box").ok());
  Fake("box")->gate = std::make_shared<Latch>(io_.get_executor());

  EXPECT_TRUE(Kill("box", SIGTERM).ok());
  EXPECT_EQ(State("box").status(), task::RUNNING);

  Fake("box")->gate->Set();
  ASSERT_TRUE(RunUntil([&] { return State("box").status() == task::STOPPED; }));
  EXPECT_EQ(State("box").exit_status(), 128u + SIGTERM);
}

TEST_F(TaskServiceTest, SandboxLivesAsLongAsAnyContainer) {
  ASSERT_TRUE(Call(tasks_->Create({}, CreateRequest("pod", kIsPod))).ok());
  EXPECT_TRUE(sandbox_->last_created.is_sandbox);
  ASSERT_TRUE(Call(tasks_->Create({}, CreateRequest("a", kOfPod))).ok());
  EXPECT_FALSE(sandbox_->last_created.is_sandbox);
  EXPECT_EQ(sandbox_->options.id, "pod-01234567");
  EXPECT_EQ(sandbox_->containers.size(), 2u);

  ASSERT_TRUE(Delete("pod").ok());
  EXPECT_FALSE(sandbox_->is_stopped);
  bool is_over = false;
  const auto wait = [](std::shared_ptr<TaskService> api, bool* over) -> Co<absl::Status> {
    co_await api->WaitShutDown();
    *over = true;
    co_return absl::OkStatus();
  };
  Spawn(io_.get_executor(), "waiting", wait(tasks_, &is_over));
  ASSERT_TRUE(Call(tasks_->Shutdown({}, Of<task::ShutdownRequest>("pod"))).ok());
  io_.run_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(is_over);

  ASSERT_TRUE(Delete("a").ok());
  EXPECT_TRUE(sandbox_->is_stopped);
  ASSERT_TRUE(Call(tasks_->Shutdown({}, Of<task::ShutdownRequest>("a"))).ok());
  EXPECT_TRUE(RunUntil([&] { return is_over; }));
}

TEST_F(TaskServiceTest, ShimThatIsGoingMakesNoMachine) {
  ASSERT_TRUE(Call(tasks_->Shutdown({}, task::ShutdownRequest())).ok());

  const absl::Status status = Call(tasks_->Create({}, CreateRequest("late"))).status();

  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(sandbox_, nullptr);
}

TEST_F(TaskServiceTest, EndWhileASandboxIsMadeLeavesNone) {
  auto created = Begin(tasks_->Create({}, CreateRequest("box")));
  auto ended = CountReturned(pod_->End());

  ASSERT_TRUE(RunUntil([&] { return created->has_value() && *ended == 1; }));
  EXPECT_TRUE(absl::IsUnavailable((*created)->status())) << (*created)->status();
  EXPECT_TRUE(sandbox_ == nullptr || sandbox_->is_stopped);
  EXPECT_EQ(pod_->sandbox(), nullptr);
}

TEST_F(TaskServiceTest, StopWaitsForASandboxThatIsBeingMade) {
  auto created = Begin(tasks_->Create({}, CreateRequest("box")));
  // The bundle has been read and the configuration is being read, or the sandbox is there.
  while (!created->has_value() && pod_->sandbox() == nullptr) io_.run_one_for(std::chrono::milliseconds(1));
  auto stopped = CountReturned(pod_->Stop());

  ASSERT_TRUE(RunUntil([&] { return created->has_value() && *stopped == 1; }));
  EXPECT_TRUE(sandbox_->is_stopped);
  EXPECT_EQ(pod_->sandbox(), nullptr);
}

TEST_F(TaskServiceTest, ContainersThatComeAtOnceShareOneMachine) {
  auto pod = Begin(tasks_->Create({}, CreateRequest("a", R"("io.containerd.runc.v2.group":"g")")));
  auto other = Begin(tasks_->Create({}, CreateRequest("b", R"("io.containerd.runc.v2.group":"g")")));

  ASSERT_TRUE(RunUntil([&] { return pod->has_value() && other->has_value(); }));
  EXPECT_TRUE((*pod)->ok()) << (*pod)->status();
  EXPECT_TRUE((*other)->ok()) << (*other)->status();
  EXPECT_EQ(sandbox_->containers.size(), 2u);
}

TEST_F(TaskServiceTest, PodContainerWithoutItsSandboxIsRefused) {
  const absl::Status status = Call(tasks_->Create({}, CreateRequest("a", kOfPod))).status();

  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "creating container \"a\": sandbox \"pod\" has ended; delete the pod");
  EXPECT_EQ(sandbox_, nullptr);
}

TEST_F(TaskServiceTest, FailedCreateLeavesNothing) {
  ASSERT_TRUE(Call(tasks_->Create({}, CreateRequest("pod", kIsPod))).ok());
  sandbox_->create_status = absl::InternalError("no such file or directory");

  EXPECT_EQ(Call(tasks_->Create({}, CreateRequest("a", kOfPod))).status().message(),
            "creating container \"a\": no such file or directory");
  EXPECT_EQ(Delete("a").code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(sandbox_->is_stopped);
  sandbox_->create_status = absl::OkStatus();
  EXPECT_TRUE(Call(tasks_->Create({}, CreateRequest("a", kOfPod))).ok());
  EXPECT_EQ(Call(tasks_->Create({}, CreateRequest("a", kOfPod))).status().code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(TaskServiceTest, FailedFirstCreateStopsTheSandbox) {
  task::CreateTaskRequest request = CreateRequest("box");
  request.set_stdout("binary:///nonexistent/logger");

  const absl::Status status = Call(tasks_->Create({}, request)).status();

  EXPECT_EQ(status.message(),
            "creating container \"box\": starting logger \"/nonexistent/logger\": no such file or directory");
  EXPECT_TRUE(sandbox_->is_stopped);
}

TEST_F(TaskServiceTest, PidsAreNeverZeroAndNameTheExecs) {
  ASSERT_TRUE(Create("box").ok());
  ASSERT_TRUE(Start("box").ok());
  ASSERT_TRUE(Exec("box", "e").ok());
  ASSERT_TRUE(Start("box", "e").ok());
  auto pids = Call(tasks_->Pids({}, Of<task::PidsRequest>("box")));
  ASSERT_TRUE(pids.ok()) << pids.status();
  ASSERT_EQ(pids->processes_size(), 2);
  EXPECT_EQ(pids->processes(0).pid(), 4711u);
  EXPECT_EQ(pids->processes(1).info().type_url(), "containerd.runc.v1.ProcessDetails");
  EXPECT_EQ(pids->processes(1).info().value(), std::string("\x0a\x01") + "e");

  sandbox_->vm_pid = 0;
  ASSERT_TRUE(Create("late").ok());
  pids = Call(tasks_->Pids({}, Of<task::PidsRequest>("late")));
  ASSERT_TRUE(pids.ok()) << pids.status();
  EXPECT_EQ(pids->processes(0).pid(), static_cast<uint32_t>(::getpid()));
}

TEST_F(TaskServiceTest, ConnectAnswersForAnyId) {
  auto answer = Call(tasks_->Connect({}, Of<task::ConnectRequest>("nobody")));

  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->shim_pid(), static_cast<uint32_t>(::getpid()));
  EXPECT_EQ(answer->task_pid(), 0u);
}

TEST_F(TaskServiceTest, OptionsOfCreateWinOverThoseOfStart) {
  task::CreateTaskRequest request = CreateRequest("box");
  runtimeoptions::v1::Options options;
  options.set_config_path("/nonexistent/config.toml");
  request.mutable_options()->set_type_url("runtimeoptions.v1.Options");
  request.mutable_options()->set_value(options.SerializeAsString());

  const absl::Status status = Call(tasks_->Create({}, request)).status();

  EXPECT_NE(status.message().find("/nonexistent/config.toml"), std::string::npos) << status;
}

TEST_F(TaskServiceTest, ConfigurationAsTextIsRead) {
  task::CreateTaskRequest request = CreateRequest("box");
  runtimeoptions::v1::Options options;
  options.set_config_body("[hypervisor.qemu]\nkernal = 1\n");
  request.mutable_options()->set_type_url("runtimeoptions.v1.Options");
  request.mutable_options()->set_value(options.SerializeAsString());

  const absl::Status status = Call(tasks_->Create({}, request)).status();

  EXPECT_NE(status.message().find("configuration \"ConfigBody\" line 2: unknown key"), std::string::npos) << status;
}

TEST_F(TaskServiceTest, OptionsOfAnotherRuntimeAreIgnored) {
  task::CreateTaskRequest request = CreateRequest("box");
  request.mutable_options()->set_type_url("example.runtime.v1.Options");
  request.mutable_options()->set_value("\xff\xff");

  ASSERT_TRUE(Call(tasks_->Create({}, request)).ok());
  EXPECT_EQ(sandbox_->options.config.file, directory_ + "/config.toml");
}

TEST_F(TaskServiceTest, CheckpointToCreateFromIsRefused) {
  task::CreateTaskRequest request = CreateRequest("box");
  request.set_checkpoint("/somewhere");

  EXPECT_EQ(Call(tasks_->Create({}, request)).status().code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace kata::shimv2
