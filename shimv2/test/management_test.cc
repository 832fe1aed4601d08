// SPDX-License-Identifier: Apache-2.0
// The pages of the management socket, over a fake sandbox.
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "shimv2/management/pages.h"
#include "shimv2/test/task_service_fixture.h"

namespace kata::shimv2 {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(CallTimes, CountsEachCallInItsRange) {
  CallTimes times;
  times.Add("State", std::chrono::microseconds(1000), absl::StatusCode::kOk);
  times.Add("State", std::chrono::microseconds(1001), absl::StatusCode::kNotFound);
  times.Add("State", std::chrono::hours(2), absl::StatusCode::kNotFound);
  const MethodTimes& state = times.methods().at("State");
  EXPECT_EQ(state.took.counts.front(), 1u);
  EXPECT_EQ(state.took.counts[1], 1u);
  EXPECT_EQ(state.took.counts.back(), 1u);
  EXPECT_NEAR(state.took.sum, 7200.002, 0.01);
  EXPECT_EQ(state.errors.at(absl::StatusCode::kNotFound), 2u);
  EXPECT_FALSE(state.errors.contains(absl::StatusCode::kOk));
}

class ManagementTest : public TaskServiceTest {
 protected:
  ManagementTest() {
    auto view = std::make_shared<PodView>();
    view->pool = &pool_;
    view->calls = &calls_;
    view->pod = pod_;
    view->tasks = tasks_;
    view->guest = std::make_shared<GuestAsker>(io_.get_executor(), pod_);
    view->execs = std::make_shared<ManagementExecs>(io_.get_executor(), tasks_);
    view->name_space = "ns";
    view_ = view;
    routes_ = MakeRoutes(view);
  }

  static Co<absl::Status> Store(Co<http::Page> page, std::shared_ptr<std::optional<http::Page>> out) {
    *out = co_await std::move(page);
    co_return absl::OkStatus();
  }
  http::Page Ask(const std::string& name, const std::string& body = "") {
    http::Request request;
    request.body = body;
    auto out = std::make_shared<std::optional<http::Page>>();
    Spawn(io_.get_executor(), "asking", Store(routes_->at(name)(std::move(request)), out));
    EXPECT_TRUE(RunUntil([out] { return out->has_value(); }));
    return out->value_or(http::Page());
  }

  CallTimes calls_;
  std::shared_ptr<const PodView> view_;
  std::shared_ptr<const http::Routes> routes_;
};

TEST_F(ManagementTest, ThereIsAStateBeforeThereIsAPod) {
  EXPECT_EQ(nlohmann::json::parse(Ask("GET /state").body)["state"], "none");
  EXPECT_EQ(Ask("GET /healthz").status, 503u);
  EXPECT_EQ(Ask("GET /stats").status, 503u);
  EXPECT_EQ(Ask("GET /console").status, 404u);
  EXPECT_THAT(Ask("GET /metrics").body, HasSubstr("kata_pod_running 0\n"));
}

TEST_F(ManagementTest, StateHasThePodsNameAndItsContainers) {
  const std::string names = R"("io.kubernetes.cri.sandbox-name":"web-0","io.kubernetes.cri.sandbox-namespace":"shop")";
  ASSERT_TRUE(Call(tasks_->Create({}, CreateRequest("c", names))).ok());
  ASSERT_TRUE(Start("c").ok());
  ASSERT_TRUE(Exec("c", "x").ok());
  const auto state = nlohmann::json::parse(Ask("GET /state").body);
  EXPECT_EQ(state["pod"], "web-0");
  EXPECT_EQ(state["pod_namespace"], "shop");
  EXPECT_EQ(state["state"], "running");
  EXPECT_EQ(state["machine"]["hypervisor"], "fake");
  EXPECT_EQ(state["containers"][0]["id"], "c");
  EXPECT_EQ(state["containers"][0]["state"], "running");
  EXPECT_EQ(state["containers"][0]["execs"][0]["id"], "x");
  EXPECT_EQ(state["containers"][0]["execs"][0]["state"], "created");
  EXPECT_EQ(Ask("GET /healthz").status, 200u);
  EXPECT_EQ(Ask("GET /console").body, "Linux says\n");
}

TEST_F(ManagementTest, AnIdThatIsNoTextDoesNotSpoilThePage) {
  pod_->Keep().IgnoreError();
  EXPECT_FALSE(nlohmann::json::parse(StatePage(*view_)).is_discarded());
  auto view = std::make_shared<PodView>(*view_);
  view->name_space = "\xff\xfe";
  EXPECT_FALSE(nlohmann::json::parse(StatePage(*view)).is_discarded());
}

TEST_F(ManagementTest, FiguresAreTheGuests) {
  ASSERT_TRUE(Create("c").ok());
  ASSERT_TRUE(Start("c").ok());
  auto& stats = sandbox_->containers.at("c")->stats;
  stats.mutable_metrics()->mutable_memory()->set_usage(4096);
  stats.mutable_metrics()->mutable_cpu()->set_user_usec(1'500'000);
  sandbox_->stats.mutable_guest_memory()->set_total(1u << 30);
  auto& eth0 = *sandbox_->stats.add_interfaces();
  eth0.set_name("eth0");
  eth0.set_rx_bytes(1);
  eth0.set_tx_packets(2);
  eth0.set_rx_dropped(3);
  sandbox_->stats.add_interfaces()->set_name("eth0");
  calls_.Add("Create", std::chrono::milliseconds(3), absl::StatusCode::kOk);
  const std::string page = Ask("GET /metrics").body;
  EXPECT_THAT(page, HasSubstr("kata_container_memory_bytes{container=\"c\"} 4096\n"));
  EXPECT_THAT(page, HasSubstr("kata_container_cpu_seconds_total{container=\"c\",mode=\"user\"} 1.5\n"));
  EXPECT_THAT(page, HasSubstr("kata_guest_memory_bytes{kind=\"total\"} 1073741824\n"));
  EXPECT_THAT(page, HasSubstr("kata_call_seconds_bucket{method=\"Create\",le=\"0.001\"} 0\n"));
  EXPECT_THAT(page, HasSubstr("kata_call_seconds_bucket{method=\"Create\",le=\"0.005\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("kata_network_bytes_total{interface=\"eth0\",direction=\"receive\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("kata_network_packets_total{interface=\"eth0\",direction=\"transmit\"} 2\n"));
  EXPECT_THAT(page, HasSubstr("kata_network_dropped_packets_total{interface=\"eth0\",direction=\"receive\"} 3\n"));
  EXPECT_THAT(page, HasSubstr("kata_pod_containers{state=\"running\"} 1\n"));
  size_t lines = 0;
  for (size_t at = page.find("\nkata_network_bytes_total{"); at != std::string::npos;
       at = page.find("\nkata_network_bytes_total{", at + 1))
    ++lines;
  EXPECT_EQ(lines, 2u);
  sandbox_->Die();
  const std::string later = Ask("GET /metrics").body;
  EXPECT_THAT(later, HasSubstr("kata_guest_answers 0\n"));
  EXPECT_THAT(later, Not(HasSubstr("kata_container_memory_bytes")));
}

TEST_F(ManagementTest, AProgramThatCannotBeRunLeavesNothing) {
  EXPECT_EQ(Ask("POST /exec", "no json").status, 400u);
  EXPECT_EQ(Ask("POST /exec", R"({"container":"none","process":{}})").status, 404u);
  EXPECT_EQ(Ask("POST /exec/wait", R"({"exec":"kata-ctl-1"})").status, 404u);
  ASSERT_TRUE(Create("c").ok());
  ASSERT_TRUE(Start("c").ok());
  sandbox_->containers.at("c")->start_exec_status = absl::InvalidArgumentError("no such program");
  const http::Page page = Ask("POST /exec", R"({"container":"c","process":{"args":["x"]}})");
  EXPECT_EQ(page.status, 400u);
  EXPECT_THAT(page.body, HasSubstr("no such program"));
  EXPECT_TRUE(tasks_->Summaries().front().processes.size() == 1);
}

TEST_F(ManagementTest, AProgramsEndIsToldOnceAndItsExecIsGone) {
  ASSERT_TRUE(Create("c").ok());
  ASSERT_TRUE(Start("c").ok());
  const http::Page started = Ask("POST /exec", R"({"container":"c","process":{"args":["x"]}})");
  ASSERT_EQ(started.status, 200u) << started.body;
  const std::string exec = nlohmann::json::parse(started.body)["exec"];
  sandbox_->containers.at("c")->execs.at(exec)->Stop(7);
  const std::string asked = R"({"exec":")" + exec + R"("})";
  EXPECT_EQ(nlohmann::json::parse(Ask("POST /exec/wait", asked).body)["exit_status"], 7);
  EXPECT_EQ(Ask("POST /exec/wait", asked).status, 404u);
  EXPECT_EQ(tasks_->Summaries().front().processes.size(), 1u);
}

TEST_F(ManagementTest, ProgramsAreBounded) {
  ASSERT_TRUE(Create("c").ok());
  ASSERT_TRUE(Start("c").ok());
  for (size_t i = 0; i < kManagementExecsMax; ++i)
    ASSERT_EQ(Ask("POST /exec", R"({"container":"c","process":{}})").status, 200u);
  EXPECT_EQ(Ask("POST /exec", R"({"container":"c","process":{}})").status, 409u);
  for (auto& [id, process] : sandbox_->containers.at("c")->execs) process->Stop(0);
}

}  // namespace
}  // namespace kata::shimv2
