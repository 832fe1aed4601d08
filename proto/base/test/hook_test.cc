// SPDX-License-Identifier: Apache-2.0
// Hooks as documents have them, and real programs run as hooks.
#include "proto/base/hook.h"

#include <signal.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "proto/base/fd.h"
#include "proto/base/process.h"
#include "proto/base/run_hook.h"

namespace kata {
namespace {

using Json = nlohmann::json;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

absl::StatusOr<Hooks> Read(const char* text) { return ReadHooks(Json::parse(text)); }

TEST(ReadHooks, TakesAllThatAHookHas) {
  auto hooks = Read(R"({"prestart":null,"createRuntime":[],"poststop":[
      {"path":"/bin/a","args":["name","x"],"env":["A=1"],"timeout":7},{"path":"/bin/b","env":[]},{"path":"/bin/c"}]})");
  ASSERT_TRUE(hooks.ok()) << hooks.status();
  ASSERT_EQ(hooks->size(), 1U);
  const std::vector<Hook>& all = hooks->at("poststop");
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].path, "/bin/a");
  EXPECT_EQ(all[0].args, (std::vector<std::string>{"name", "x"}));
  EXPECT_EQ(*all[0].environment, std::vector<std::string>{"A=1"});
  EXPECT_EQ(all[0].timeout, std::chrono::seconds(7));
  EXPECT_TRUE(all[1].environment.has_value());
  EXPECT_FALSE(all[2].environment.has_value());
  EXPECT_EQ(all[2].timeout, kHookTimeout);
  EXPECT_TRUE(ReadHooks(Json()).ok());
}

TEST(ReadHooks, NamesWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {R"([])", "hooks: must be an object"},
      {R"({"prestart":{}})", "hooks.prestart: must be a list"},
      {R"({"prestart":["x"]})", "hooks.prestart[0]: must be an object"},
      {R"({"prestart":[{"args":["x"]}]})", "hooks.prestart[0].path: must be an absolute path"},
      {R"({"prestart":[{"path":"bin/x"}]})", "hooks.prestart[0].path: must be an absolute path"},
      {R"({"prestart":[{"path":"/x"},{"path":"/x\u0000y"}]})", "hooks.prestart[1].path: must be an absolute path"},
      {R"({"poststop":[{"path":"/x","args":"y"}]})", "hooks.poststop[0].args: must be a list of texts"},
      {R"({"poststop":[{"path":"/x","env":[1]}]})", "hooks.poststop[0].env: must be a list of texts"},
      {R"({"poststop":[{"path":"/x","timeout":0}]})",
       "hooks.poststop[0].timeout: must be a number of seconds greater than 0"},
  };
  for (const auto& [text, message] : cases) EXPECT_EQ(Read(text).status().message(), message) << text;
  Json many;
  for (size_t i = 0; i <= kHooksMax; ++i) many["prestart"].push_back({{"path", "/x"}});
  EXPECT_EQ(ReadHooks(many).status().message(), "hooks.prestart: 65 hooks, at most 64");
}

TEST(HookState, IsTheContainersState) {
  const Json document = Json::parse(R"({"ociVersion":"1.1.0","annotations":{"a":"b"},"process":{}})");
  const std::string state = HookState(document, "box", "/bundles/box");
  EXPECT_EQ(Json::parse(WithStatus(state, "creating", 7)),
            Json::parse(R"({"ociVersion":"1.1.0","id":"box","status":"creating","pid":7,"bundle":"/bundles/box",
                            "annotations":{"a":"b"}})"));
  EXPECT_FALSE(Json::parse(WithStatus(state, "stopped", 0)).contains("pid"));
  EXPECT_EQ(Json::parse(HookState(Json::object(), "box", "/b"))["ociVersion"], "1.0.2");
}

class RunHookTest : public testing::Test {
 protected:
  RunHookTest() {
    char name[] = "/tmp/hook-XXXXXX";
    directory_ = ::mkdtemp(name);
  }
  ~RunHookTest() override { std::filesystem::remove_all(directory_); }

  Hook Shell(const std::string& script) const {
    Hook hook;
    hook.path = "/bin/sh";
    hook.args = {"hook", "-c", script};
    hook.timeout = std::chrono::seconds(60);
    return hook;
  }
  absl::Status Run(const Hook& hook) const { return RunHook(hook, "the state", {directory_, -1}); }
  std::string Content(const char* name) const { return ReadFile(directory_ + "/" + name, 1 << 20).value_or("nothing"); }

  std::string directory_;
};

TEST_F(RunHookTest, HasItsStateItsPlaceAndItsName) {
  Hook hook = Shell("cat >state; pwd >place; tr '\\0' ' ' </proc/$$/cmdline >name");
  hook.environment = {"PATH=/usr/bin:/bin"};
  const absl::Status status = Run(hook);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Content("state"), "the state");
  EXPECT_EQ(Content("place"), directory_ + "\n");
  EXPECT_THAT(Content("name"), StartsWith("hook -c "));
}

TEST_F(RunHookTest, WithoutAnEnvironmentHasOurs) {
  ::setenv("KATA_HOOK_TEST", "ours", 1);
  Hook hook = Shell("echo $KATA_HOOK_TEST >seen");
  ASSERT_TRUE(Run(hook).ok());
  EXPECT_EQ(Content("seen"), "ours\n");
  hook.environment.emplace();
  ASSERT_TRUE(Run(hook).ok());
  EXPECT_EQ(Content("seen"), "\n");
}

TEST_F(RunHookTest, ThatFailsIsQuoted) {
  EXPECT_EQ(Run(Shell("echo out; echo no such device >&2; exit 3")).message(),
            "hook \"/bin/sh\": it ended with status 3: out\nno such device");
  EXPECT_EQ(Run(Shell("kill -9 $$")).message(), "hook \"/bin/sh\": signal 9 ended it");
  Hook missing;
  missing.path = "/nowhere/hook";
  EXPECT_THAT(std::string(Run(missing).message()), StartsWith("starting hook \"/nowhere/hook\": "));
}

TEST_F(RunHookTest, ThatSaysMuchHasTheLastWord) {
  const absl::Status status = Run(Shell("i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done; exit 1"));
  EXPECT_THAT(std::string(status.message()), EndsWith("19999"));
  EXPECT_LT(status.message().size(), kHookOutputMax + 100);
}

TEST_F(RunHookTest, ThatTakesTooLongIsKilledWithWhatItHasStarted) {
  Hook hook = Shell("echo waiting; sleep 1000 & echo $! >child; wait");
  hook.timeout = std::chrono::seconds(1);
  const absl::Status status = Run(hook);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("it did not end within its 1 s: waiting"));
  const UniqueFd child = OpenProcess(std::stoi(Content("child")));
  EXPECT_TRUE(!child.valid() || HasEnded(child.get(), std::chrono::seconds(60)));
}

TEST_F(RunHookTest, DoesNotWaitForWhatAHookLeavesBehind) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(Run(Shell("sleep 50 & echo $! >child")).ok());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(40));
  ::kill(std::stoi(Content("child")), SIGKILL);
}

}  // namespace
}  // namespace kata
