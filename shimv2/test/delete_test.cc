// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bootstrap/delete.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "shimv2/bootstrap/shim_process.h"
#include "shimv2/bootstrap/socket_address.h"
#include "shimv2/task/task_service.h"
#include "shimv2/test/task_service_fixture.h"

namespace kata::shimv2 {
namespace {

constexpr char kOfPod[] = R"("io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-id":"pod")";

class DeleteTest : public TaskServiceTest {
 protected:
  ~DeleteTest() override {
    if (sleeper_ > 0) {
      ::kill(sleeper_, SIGKILL);
      ::waitpid(sleeper_, nullptr, 0);
    }
  }
  // A process that stands for the shim in `bundle`.
  void RecordShim(const std::string& bundle) {
    sleeper_ = ::fork();
    if (sleeper_ == 0) {
      ::pause();
      ::_exit(0);
    }
    ASSERT_TRUE(RecordShimProcess(bundle, sleeper_).ok());
  }
  bool IsShimRunning() {
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(sleeper_), &info, WEXITED | WNOHANG | WNOWAIT);
    return info.si_pid == 0;
  }
  // Serves the Task API on the socket that the address file of `bundle` names while `Delete` runs.
  absl::StatusOr<std::string> DeleteWhileServing(const std::string& bundle, const Arguments& arguments) {
    const std::string path = directory_ + "/s/socket";
    auto socket = ListenOn(path);
    if (!socket.ok()) return socket.status();
    EXPECT_TRUE(WriteFileAtomically(bundle + "/address", SocketAddress(path), 0600).ok());
    ttrpc::ServiceMap services;
    tasks_->Register(services);
    auto server = ttrpc::Server::Start(io_.get_executor(), std::move(*socket), &services);
    auto work = asio::make_work_guard(io_);
    io_.restart();
    std::thread thread([this] { io_.run(); });
    auto deleted = kata::shimv2::Delete(arguments);
    work.reset();
    io_.stop();
    thread.join();
    Spawn(io_.get_executor(), "stopping", StopServer(server));
    io_.restart();
    io_.run_for(std::chrono::milliseconds(50));
    return deleted;
  }
  static Co<absl::Status> StopServer(std::shared_ptr<ttrpc::Server> server) {
    co_await server->Stop(std::chrono::milliseconds(1));
    co_return absl::OkStatus();
  }
  static void ExpectKilled(const absl::StatusOr<std::string>& bytes) {
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    task::DeleteResponse response;
    ASSERT_TRUE(response.ParseFromString(*bytes));
    EXPECT_EQ(response.exit_status(), 137u);
    EXPECT_GT(response.exited_at().seconds(), 0);
  }
  Arguments ArgumentsFor(const std::string& id) {
    Arguments arguments;
    arguments.name_space = "unit-test";
    arguments.id = id;
    arguments.bundle = directory_ + "/" + id;
    return arguments;
  }

  pid_t sleeper_ = 0;
};

TEST_F(DeleteTest, ContainerOfAPodEndsNoShim) {
  const std::string bundle = MakeBundle("box", kOfPod);
  RecordShim(bundle);

  ExpectKilled(kata::shimv2::Delete(ArgumentsFor("box")));

  EXPECT_TRUE(IsShimRunning());
}

TEST_F(DeleteTest, ShimWithoutASocketIsEnded) {
  const std::string bundle = MakeBundle("unit-test-box");
  RecordShim(bundle);

  ExpectKilled(kata::shimv2::Delete(ArgumentsFor("unit-test-box")));

  EXPECT_FALSE(IsShimRunning());
  ExpectKilled(kata::shimv2::Delete(ArgumentsFor("unit-test-box")));
}

TEST_F(DeleteTest, HalfBuiltBundleIsNoError) { ExpectKilled(kata::shimv2::Delete(ArgumentsFor("unit-test-nothing"))); }

TEST_F(DeleteTest, ShimThatHasForgottenTheContainerIsLeftAlone) {
  const std::string bundle = MakeBundle("box");
  RecordShim(bundle);

  ExpectKilled(DeleteWhileServing(bundle, ArgumentsFor("box")));

  EXPECT_TRUE(IsShimRunning());
}

TEST_F(DeleteTest, MemberOfAGroupDoesNotEndTheOthersMachine) {
  const std::string annotations = R"("io.containerd.runc.v2.group":"g")";
  ASSERT_TRUE(Call(tasks_->Create({}, CreateRequest("box", annotations))).ok());
  RecordShim(directory_ + "/box");

  ExpectKilled(DeleteWhileServing(directory_ + "/box", ArgumentsFor("box")));

  EXPECT_TRUE(IsShimRunning());
  EXPECT_FALSE(sandbox_->is_stopped);
}

TEST_F(DeleteTest, RecordedShimIsEnded) {
  const std::string bundle = MakeBundle("box");
  RecordShim(bundle);

  EXPECT_TRUE(EndShimProcess(bundle, std::chrono::milliseconds(1)).ok());

  EXPECT_FALSE(IsShimRunning());
  EXPECT_TRUE(EndShimProcess(bundle, std::chrono::milliseconds(1)).ok());
}

TEST_F(DeleteTest, ReusedPidIsNotTakenForTheShim) {
  const std::string bundle = MakeBundle("box");
  RecordShim(bundle);
  ASSERT_TRUE(WriteFileAtomically(bundle + "/shim.pid", std::to_string(sleeper_) + " 1", 0600).ok());

  EXPECT_TRUE(EndShimProcess(bundle, std::chrono::milliseconds(1)).ok());

  EXPECT_TRUE(IsShimRunning());
}

}  // namespace
}  // namespace kata::shimv2
