// SPDX-License-Identifier: Apache-2.0
#include <sys/ioctl.h>
#include <unistd.h>

#include "shimv2/test/task_service_fixture.h"

namespace kata::shimv2 {
namespace {

TEST_F(TaskServiceTest, ExecIdsAreUniqueInAContainer) {
  ASSERT_TRUE(Create("box").ok());
  ASSERT_TRUE(Create("other").ok());
  ASSERT_TRUE(Exec("box", "e").ok());

  EXPECT_EQ(Exec("box", "e").code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(Exec("other", "e").ok());
}

TEST_F(TaskServiceTest, StoppedContainerTakesNoExec) {
  ASSERT_TRUE(Create("box").ok());
  ASSERT_TRUE(Start("box").ok());
  ASSERT_TRUE(Kill("box", SIGKILL).ok());

  EXPECT_EQ(Exec("box", "e").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(HasEvent("/tasks/exec-added"));
}

TEST_F(TaskServiceTest, UnknownIdsAreNotFound) {
  ASSERT_TRUE(Create("box").ok());

  EXPECT_EQ(Start("nobody").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Start("box", "nobody").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Call(tasks_->Wait({}, Of<task::WaitRequest>("box", "nobody"))).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(TaskServiceTest, ExecThatCannotStartReleasesItsWaitersAndHasNoExit) {
  ASSERT_TRUE(Create("box").ok());
  ASSERT_TRUE(Start("box").ok());
  ASSERT_TRUE(Exec("box", "e").ok());
  auto waiting = Begin(tasks_->Wait({}, Of<task::WaitRequest>("box", "e")));
  Fake("box")->start_exec_status = absl::NotFoundError("exec: \"x\": executable file not found in $PATH");

  EXPECT_EQ(Start("box", "e").message(), "exec: \"x\": executable file not found in $PATH");

  ASSERT_TRUE(RunUntil([&] { return waiting->has_value(); }));
  EXPECT_EQ((**waiting)->exit_status(), 255u);
  EXPECT_TRUE(Delete("box", "e").ok());
  EXPECT_EQ(Delete("box", "e").code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(HasEvent("/tasks/exec-started"));
  EXPECT_FALSE(HasEvent("/tasks/exit"));
}

TEST_F(TaskServiceTest, ExecWithAnUnknownSchemeFailsAtItsStart) {
  ASSERT_TRUE(Create("box").ok());
  ASSERT_TRUE(Start("box").ok());
  task::ExecProcessRequest request = Of<task::ExecProcessRequest>("box", "e");
  request.set_stdout("carrier-pigeon:///loft");
  ASSERT_TRUE(Call(tasks_->Exec({}, request)).ok());
  auto waiting = Begin(tasks_->Wait({}, Of<task::WaitRequest>("box", "e")));

  EXPECT_EQ(Start("box", "e").code(), absl::StatusCode::kInvalidArgument);

  ASSERT_TRUE(RunUntil([&] { return waiting->has_value(); }));
  EXPECT_EQ((**waiting)->exit_status(), 255u);
  EXPECT_EQ(Exec("box", "e").code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(Delete("box", "e").ok());
  EXPECT_TRUE(Exec("box", "e").ok());
}

TEST_F(TaskServiceTest, UnstartedExecIsDeletable) {
  ASSERT_TRUE(Create("box").ok());
  ASSERT_TRUE(Exec("box", "e").ok());

  EXPECT_TRUE(Delete("box", "e").ok());
  EXPECT_FALSE(HasEvent("/tasks/exit"));
  EXPECT_FALSE(HasEvent("/tasks/delete"));
}

TEST_F(TaskServiceTest, RunningExecIsNotDeleted) {
  ASSERT_TRUE(Create("box").ok());
  ASSERT_TRUE(Start("box").ok());
  ASSERT_TRUE(Exec("box", "e").ok());
  ASSERT_TRUE(Start("box", "e").ok());

  EXPECT_EQ(Delete("box", "e").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Start("box", "e").code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(TaskServiceTest, CloseIoBeforeTheStartIsRemembered) {
  ASSERT_TRUE(Create("box").ok());
  ASSERT_TRUE(Start("box").ok());
  const std::string fifo = directory_ + "/in";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  task::ExecProcessRequest request = Of<task::ExecProcessRequest>("box", "e");
  request.set_stdin(fifo);
  ASSERT_TRUE(Call(tasks_->Exec({}, request)).ok());
  task::CloseIORequest close = Of<task::CloseIORequest>("box", "e");
  close.set_stdin(true);
  ASSERT_TRUE(Call(tasks_->CloseIO({}, close)).ok());

  ASSERT_TRUE(Start("box", "e").ok());

  std::shared_ptr<GuestEnd> guest = Fake("box")->execs.at("e")->guest;
  ASSERT_TRUE(RunUntil([&] { return !guest->to_guest.empty(); }));
  EXPECT_EQ(guest->to_guest[0].kind_case(), StdioMessage::kEnd);
}

TEST_F(TaskServiceTest, ExitIsToldOnceTheClientHasReadTheOutput) {
  const UniqueFd client = StartExecWithOutput("box", "e");
  ASSERT_TRUE(client.valid());
  auto waited = Begin(tasks_->Wait({}, Of<task::WaitRequest>("box", "e")));

  std::shared_ptr<FakeProcess> process = Fake("box")->execs.at("e");
  int unread = 0;
  char buffer[32];
  process->guest->SayData(StdioMessage::STDOUT, "first words");
  ASSERT_TRUE(RunUntil([&] { return ::ioctl(client.get(), FIONREAD, &unread) == 0 && unread == 11; }));
  EXPECT_EQ(::read(client.get(), buffer, sizeof(buffer)), 11);
  process->guest->SayData(StdioMessage::STDOUT, "last words");
  process->Stop(3);
  ASSERT_TRUE(RunUntil([&] { return ::ioctl(client.get(), FIONREAD, &unread) == 0 && unread == 10; }));
  EXPECT_EQ(State("box", "e").status(), task::STOPPED);
  for (int i = 0; i < 100; ++i) {  // all that is ready
    io_.restart();
    io_.poll();
  }
  EXPECT_FALSE(HasEvent("/tasks/exit"));
  EXPECT_FALSE(waited->has_value());
  EXPECT_EQ(::read(client.get(), buffer, sizeof(buffer)), 10);

  EXPECT_TRUE(RunUntil([&] { return HasEvent("/tasks/exit") && waited->has_value(); }));
  EXPECT_EQ((**waited)->exit_status(), 3u);
}

TEST_F(TaskServiceTest, ExitDoesNotWaitForAClientThatReadsNoMore) {
  const UniqueFd client = StartExecWithOutput("box", "e");
  ASSERT_TRUE(client.valid());

  std::shared_ptr<FakeProcess> process = Fake("box")->execs.at("e");
  process->guest->SayData(StdioMessage::STDOUT, "nobody hears it");
  process->Stop(0);

  EXPECT_TRUE(RunUntil([&] { return HasEvent("/tasks/exit"); }));
}

TEST_F(TaskServiceTest, SizeOfATerminalIsPassedOnUntilItsProcessHasStopped) {
  ASSERT_TRUE(Create("box").ok());
  ASSERT_TRUE(Start("box").ok());
  task::ExecProcessRequest request = Of<task::ExecProcessRequest>("box", "e");
  request.set_terminal(true);
  ASSERT_TRUE(Call(tasks_->Exec({}, request)).ok());
  task::ResizePtyRequest resize = Of<task::ResizePtyRequest>("box", "e");
  resize.set_width(80);
  resize.set_height(24);
  ASSERT_TRUE(Call(tasks_->ResizePty({}, resize)).ok());
  EXPECT_EQ(Fake("box")->calls.back(), "resize e 80x24");
  ASSERT_TRUE(Start("box", "e").ok());
  Fake("box")->execs.at("e")->Stop(0);
  EXPECT_EQ(Call(tasks_->ResizePty({}, resize)).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(TaskServiceTest, ResizeWithoutATerminalDoesNothing) {
  ASSERT_TRUE(Create("box").ok());

  EXPECT_TRUE(Call(tasks_->ResizePty({}, Of<task::ResizePtyRequest>("box", ""))).ok());
  EXPECT_TRUE(Fake("box")->calls.empty());
}

TEST_F(TaskServiceTest, LoggerOfAContainerEndsWithIt) {
  const std::string script = directory_ + "/logger";
  const std::string out = directory_ + "/out";
  ASSERT_TRUE(WriteFileAtomically(script,
                                  "#!/bin/sh\nexec 5>&-\necho $$ > " + directory_ + "/pid\n" + "cat <&3 > " + out +
                                      ".tmp\nmv " + out + ".tmp " + out + "\n",
                                  0700)
                  .ok());
  task::CreateTaskRequest request = CreateRequest("box");
  request.set_stdout("binary://" + script);
  request.set_stderr("binary://" + script);
  auto created = Call(tasks_->Create({}, request));
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_TRUE(sandbox_->last_created.stdio.has_stderr);
  EXPECT_EQ(State("box").stdout(), "binary://" + script);
  ASSERT_TRUE(Start("box").ok());

  std::shared_ptr<FakeProcess> init = Fake("box")->fake_init;
  init->guest->SayData(StdioMessage::STDOUT, "said");
  ASSERT_TRUE(RunUntil([&] { return !init->guest->to_guest.empty(); }));
  init->Stop(0);
  ASSERT_TRUE(RunUntil([&] { return std::filesystem::exists(out); }));
  ASSERT_TRUE(Delete("box").ok());

  EXPECT_EQ(*ReadFile(out, 100), "said");
  const int pid = std::stoi(*ReadFile(directory_ + "/pid", 100));
  EXPECT_EQ(::kill(pid, 0), -1);
}

}  // namespace
}  // namespace kata::shimv2
