// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>

#include "shimv2/task/oom_marker.h"
#include "shimv2/task/stats.h"
#include "shimv2/test/task_service_fixture.h"

namespace kata::shimv2 {
namespace {

task::UpdateTaskRequest UpdateRequest(const std::string& type_url, const std::string& value) {
  task::UpdateTaskRequest request;
  request.set_id("box");
  request.mutable_resources()->set_type_url(type_url);
  request.mutable_resources()->set_value(value);
  return request;
}

TEST_F(TaskServiceTest, PauseAndResumeShowInStateAndEvents) {
  ASSERT_TRUE(Create("box").ok());
  ASSERT_TRUE(Start("box").ok());
  ASSERT_TRUE(Exec("box", "running").ok());
  ASSERT_TRUE(Start("box", "running").ok());
  ASSERT_TRUE(Exec("box", "created").ok());

  ASSERT_TRUE(Call(tasks_->Pause({}, Of<task::PauseRequest>("box"))).ok());
  EXPECT_EQ(publisher_->topics.back(), "/tasks/paused");
  EXPECT_EQ(State("box").status(), task::PAUSED);
  EXPECT_EQ(State("box", "running").status(), task::PAUSED);
  EXPECT_EQ(State("box", "created").status(), task::CREATED);

  ASSERT_TRUE(Call(tasks_->Resume({}, Of<task::ResumeRequest>("box"))).ok());
  EXPECT_EQ(publisher_->topics.back(), "/tasks/resumed");
  EXPECT_EQ(State("box").status(), task::RUNNING);
  EXPECT_EQ(State("box", "running").status(), task::RUNNING);
}

TEST_F(TaskServiceTest, PauseThatFailsIsNoEvent) {
  ASSERT_TRUE(Create("box").ok());

  EXPECT_EQ(Call(tasks_->Pause({}, Of<task::PauseRequest>("box"))).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(HasEvent("/tasks/paused"));
}

TEST_F(TaskServiceTest, PausedContainerIsKilledBeforeItIsDeleted) {
  ASSERT_TRUE(Create("box").ok());
  ASSERT_TRUE(Start("box").ok());
  ASSERT_TRUE(Call(tasks_->Pause({}, Of<task::PauseRequest>("box"))).ok());

  const absl::Status refused = Delete("box");
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(refused.message().find("it is paused"), std::string::npos);
  EXPECT_TRUE(Kill("box", SIGKILL).ok());
  EXPECT_EQ(State("box").status(), task::STOPPED);
  EXPECT_TRUE(Delete("box").ok());
}

TEST_F(TaskServiceTest, UpdateHandsTheObjectOn) {
  ASSERT_TRUE(Create("box").ok());
  const std::string resources = R"({"memory":{"limit":1}})";

  EXPECT_TRUE(Call(tasks_->Update({}, UpdateRequest("types.containerd.io/opencontainers/runtime-spec/1/LinuxResources",
                                                    resources)))
                  .ok());
  EXPECT_EQ(Fake("box")->calls.back(), "update " + resources);
  EXPECT_TRUE(Call(tasks_->Update({}, UpdateRequest("", "{}"))).ok());
  EXPECT_EQ(Fake("box")->calls.back(), "update {}");
}

TEST_F(TaskServiceTest, UpdateNamesWhatIsWrong) {
  ASSERT_TRUE(Create("box").ok());

  const auto update = [this](const std::string& type_url, const std::string& value) {
    return Call(tasks_->Update({}, UpdateRequest(type_url, value))).status();
  };
  EXPECT_EQ(update("x/WindowsResources", "{}").message(),
            "updating container \"box\": the resources are of type \"x/WindowsResources\", not LinuxResources");
  EXPECT_EQ(update("", "{").message(), "updating container \"box\": the resources are not valid JSON");
  EXPECT_EQ(update("", "[]").message(),
            "updating container \"box\": the resources are a JSON array, where an object is needed");
  EXPECT_EQ(update("", "[]").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(Fake("box")->calls.empty());
}

TEST_F(TaskServiceTest, StatsComeInTheHostsForm) {
  ASSERT_TRUE(Create("box").ok());
  ASSERT_TRUE(Start("box").ok());
  Fake("box")->stats.mutable_metrics()->mutable_cpu()->set_usage_usec(5);

  auto stats = Call(tasks_->Stats({}, Of<task::StatsRequest>("box")));

  ASSERT_TRUE(stats.ok()) << stats.status();
  const wire::Any expected = StatsAny(Fake("box")->stats, HostCgroupVersion());
  EXPECT_EQ(stats->stats().type_url(), expected.type_url());
  EXPECT_EQ(stats->stats().value(), expected.value());
  Fake("box")->fake_init->Stop(0);
  EXPECT_EQ(Call(tasks_->Stats({}, Of<task::StatsRequest>("box"))).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(TaskServiceTest, CheckpointSaysWhereItComes) {
  ASSERT_TRUE(Create("box").ok());

  const absl::Status status = Call(tasks_->Checkpoint({}, Of<task::CheckpointTaskRequest>("box"))).status();

  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(status.message().find("checkpoint of the whole virtual machine"), std::string::npos);
}

TEST_F(TaskServiceTest, OomIsToldAndMarkedBeforeTheExit) {
  ASSERT_TRUE(Create("box").ok());
  ASSERT_TRUE(Start("box").ok());
  bool is_marked_at_oom = false;
  publisher_->on_publish = [&](const std::string& topic) {
    if (topic == "/tasks/oom") is_marked_at_oom = std::filesystem::exists(directory_ + "/box/oom");
  };

  Fake("box")->on_oom();
  Fake("box")->fake_init->Stop(137);
  ASSERT_TRUE(RunUntil([&] { return HasEvent("/tasks/exit"); }));

  EXPECT_TRUE(is_marked_at_oom);
  const auto& topics = publisher_->topics;
  EXPECT_LT(std::find(topics.begin(), topics.end(), "/tasks/oom"),
            std::find(topics.begin(), topics.end(), "/tasks/exit"));
}

TEST_F(TaskServiceTest, OomMarkerFollowsNoLink) {
  const std::string bundle = MakeBundle("box");
  ASSERT_EQ(::symlink((directory_ + "/elsewhere").c_str(), (bundle + "/oom").c_str()), 0);

  EXPECT_FALSE(MarkOutOfMemory(bundle).ok());
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/elsewhere"));
}

}  // namespace
}  // namespace kata::shimv2
