// SPDX-License-Identifier: Apache-2.0
// The client against the server, over a unix socket.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include "proto/http/client.h"
#include "proto/http/server.h"

namespace kata::http {
namespace {

constexpr char kName[] = "s";
constexpr std::chrono::seconds kLong{30};

Co<Page> Echo(Request request) {
  Page page;
  page.body = request.query + "|" + request.body;
  co_return page;
}

Co<Page> Throw() {
  throw std::runtime_error("no luck");
  co_return Page();
}

class HttpTest : public testing::Test {
 protected:
  HttpTest() {
    std::string pattern = testing::TempDir() + "/kata-http-XXXXXX";
    directory_ = ::mkdtemp(pattern.data()) != nullptr ? pattern : "";
    auto routes = std::make_shared<Routes>();
    (*routes)["GET /echo"] = [](Request request) { return Echo(std::move(request)); };
    (*routes)["PUT /echo"] = [](Request request) { return Echo(std::move(request)); };
    (*routes)["GET /throw"] = [](Request) { return Throw(); };
    (*routes)["GET /never"] = [this](Request) { return Never(); };
    routes_ = routes;
  }
  ~HttpTest() override {
    ::unlink((directory_ + "/" + kName).c_str());
    ::rmdir(directory_.c_str());
  }

  Co<Page> Never() {
    co_await never_.Wait();
    co_return Page();
  }

  UniqueFd Listen() {
    name_.sun_family = AF_UNIX;
    const std::string path = directory_ + "/" + kName;
    std::memcpy(name_.sun_path, path.data(), path.size());
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name_), sizeof(name_)), 0);
    return fd;
  }

  void Serve() {
    UniqueFd fd = Listen();
    ASSERT_EQ(::listen(fd.get(), 8), 0);
    server_ = Server::Start(io_.get_executor(), std::move(fd), routes_);
  }

  static Co<absl::Status> Put(std::string directory, Question question, std::chrono::nanoseconds timeout,
                              std::shared_ptr<absl::StatusOr<Answer>> answer, std::shared_ptr<Latch> done) {
    *answer = co_await http::Ask(directory, kName, std::move(question), timeout);
    done->Set();
    co_return absl::OkStatus();
  }

  absl::StatusOr<Answer> Ask(Question question, std::chrono::nanoseconds timeout = kLong) {
    auto answer = std::make_shared<absl::StatusOr<Answer>>(absl::UnknownError("not asked"));
    auto done = std::make_shared<Latch>(io_.get_executor());
    Spawn(io_.get_executor(), "asking", Put(directory_, std::move(question), timeout, answer, done));
    while (!done->is_set() && io_.run_one() > 0) {
    }
    return *answer;
  }

  absl::StatusOr<Answer> Get(const std::string& path, std::chrono::nanoseconds timeout = kLong) {
    Question question;
    question.path = path;
    return Ask(std::move(question), timeout);
  }

  std::string directory_;
  sockaddr_un name_{};
  std::shared_ptr<const Routes> routes_;
  asio::io_context io_{1};
  Latch never_{io_.get_executor()};
  std::shared_ptr<Server> server_;
};

TEST_F(HttpTest, APageGetsWhatWasAsked) {
  Serve();
  auto answer = Get("/echo?a=b");
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->status, 200u);
  EXPECT_EQ(answer->type, kTextType);
  EXPECT_EQ(answer->body, "a=b|");
  Question question;
  question.method = "PUT";
  question.path = "/echo";
  question.body = "words";
  answer = Ask(std::move(question));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->body, "|words");
}

TEST_F(HttpTest, WhatIsNotThereIsAnsweredByWhatIs) {
  Serve();
  const auto answer = Get("/ech");
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->status, 404u);
  EXPECT_NE(answer->body.find("GET /echo\nGET /never\n"), std::string::npos);
}

TEST_F(HttpTest, AnExceptionIsAPageToo) {
  Serve();
  const auto answer = Get("/throw");
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->status, 500u);
  EXPECT_NE(answer->body.find("no luck"), std::string::npos);
}

TEST_F(HttpTest, ABodyThatIsTooLongEndsItsConnectionOnly) {
  Serve();
  Question question;
  question.method = "PUT";
  question.path = "/echo";
  question.body = std::string(kBodyMax + 1, 'x');
  EXPECT_FALSE(Ask(std::move(question)).ok());
  EXPECT_TRUE(Get("/echo").ok());
}

TEST_F(HttpTest, WhoHasNoRoomIsNotTakenForDead) {
  Serve();
  std::vector<UniqueFd> hanging;
  for (size_t i = 0; i < kConnectionsMax; ++i) {
    hanging.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(hanging.back().get(), reinterpret_cast<const sockaddr*>(&name_), sizeof(name_)), 0);
    io_.poll();
  }
  EXPECT_TRUE(absl::IsAborted(Get("/echo").status())) << Get("/echo").status();
  hanging.clear();
  io_.run_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(Get("/echo").ok()) << Get("/echo").status();
}

TEST_F(HttpTest, ErrorsSayWhetherAnybodyListens) {
  EXPECT_TRUE(absl::IsNotFound(Get("/echo").status())) << Get("/echo").status();
  const UniqueFd bound = Listen();
  EXPECT_TRUE(absl::IsUnavailable(Get("/echo").status())) << Get("/echo").status();
  directory_ += "/none";
  EXPECT_TRUE(absl::IsNotFound(Get("/echo").status())) << Get("/echo").status();
  directory_.resize(directory_.size() - 5);
}

TEST_F(HttpTest, ASilentServerIsNotWaitedForForEver) {
  Serve();
  EXPECT_TRUE(absl::IsDeadlineExceeded(Get("/never", std::chrono::milliseconds(50)).status()));
  never_.Set();
}

TEST_F(HttpTest, AfterStopNobodyListens) {
  Serve();
  ASSERT_TRUE(Get("/echo").ok());
  server_->Stop();
  EXPECT_TRUE(absl::IsUnavailable(Get("/echo").status()));
}

}  // namespace
}  // namespace kata::http
