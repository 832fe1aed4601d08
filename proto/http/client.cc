// SPDX-License-Identifier: Apache-2.0
#include "proto/http/client.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::http {
namespace {

namespace beast = boost::beast;
using Local = asio::local::stream_protocol;
using Stream = beast::basic_stream<Local>;
using Message = beast::http::request<beast::http::string_body>;

constexpr unsigned kHttp11 = 11;

absl::Status ErrorOf(const boost::system::error_code& error, const std::string& what) {
  if (error == beast::error::timeout) return absl::DeadlineExceededError(what + ": no answer");
  if (error == asio::error::connection_refused) return absl::UnavailableError(what + ": nobody listens");
  if (error == boost::system::errc::no_such_file_or_directory) return absl::NotFoundError(what + ": no such socket");
  // One that has no room for another connection closes it, or does not take it: it lives, which refused is no word for.
  return absl::AbortedError(absl::StrCat(what, ": ", error.message()));
}

Message MessageOf(Question question) {
  Message message;
  message.version(kHttp11);
  message.method_string(question.method);
  message.target(question.path);
  message.set(beast::http::field::host, "localhost");
  message.keep_alive(false);
  message.body() = std::move(question.body);
  message.prepare_payload();
  return message;
}

}  // namespace

Co<absl::StatusOr<Answer>> Ask(std::string directory, std::string name, Question question,
                               std::chrono::nanoseconds timeout) {
  const std::string what = absl::StrCat("asking \"", directory, "/", name, "\"");
  const UniqueFd at(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!at.valid()) co_return ErrnoStatus(errno, what);
  const Local::endpoint endpoint(absl::StrCat("/proc/self/fd/", at.get(), "/", name));
  Stream stream(co_await asio::this_coro::executor);
  stream.expires_after(std::chrono::duration_cast<std::chrono::milliseconds>(timeout));
  auto [connect_error] = co_await stream.async_connect(endpoint, kTuple);
  if (connect_error) co_return ErrorOf(connect_error, what);
  Message message = MessageOf(std::move(question));
  auto [write_error, written] = co_await beast::http::async_write(stream, message, kTuple);
  if (write_error) co_return ErrorOf(write_error, what);
  beast::flat_buffer buffer;
  beast::http::response_parser<beast::http::string_body> parser;
  parser.body_limit(kAnswerMax);
  auto [read_error, read] = co_await beast::http::async_read(stream, buffer, parser, kTuple);
  if (read_error) co_return ErrorOf(read_error, what);
  auto response = parser.release();
  Answer answer;
  answer.status = response.result_int();
  answer.type = std::string(response[beast::http::field::content_type]);
  answer.body = std::move(response.body());
  co_return answer;
}

}  // namespace kata::http
