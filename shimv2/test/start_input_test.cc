// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bootstrap/start_input.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <thread>

#include <gtest/gtest.h>

#include "proto/base/fd.h"
#include "proto/schema/bootstrap.pb.h"
#include "proto/schema/runtime_options.pb.h"
#include "shimv2/pod/runtime_options.h"

namespace kata::shimv2 {
namespace {

using containerd::runtime::bootstrap::v1::BootstrapParams;

struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    read.reset(ends[0]);
    write.reset(ends[1]);
  }
  UniqueFd read;
  UniqueFd write;
};

wire::Any OptionsAny(const std::string& type_url, const std::string& path, const std::string& body = "") {
  runtimeoptions::v1::Options options;
  options.set_config_path(path);
  options.set_config_body(body);
  wire::Any any;
  any.set_type_url(type_url);
  any.set_value(options.SerializeAsString());
  return any;
}

TEST(StartInput, NothingIsNoOptions) {
  auto input = ParseStartInput("", "box", "ns");

  ASSERT_TRUE(input.ok()) << input.status();
  EXPECT_EQ(input->options.type_url(), "");
  EXPECT_EQ(input->socket_directory, "");
}

// The 47 bytes that containerd's CRI plugin was seen to write.
TEST(StartInput, OptionsOfTheCriPluginAreRead) {
  const std::string bytes = std::string("\x0a\x19runtimeoptions.v1.Options\x12\x12\x12\x10", 31) + "/etc/kata/c.toml";
  ASSERT_EQ(bytes.size(), 47u);

  auto input = ParseStartInput(bytes, "box", "ns");

  ASSERT_TRUE(input.ok()) << input.status();
  auto options = ParseRuntimeOptions(input->options);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->config_path, "/etc/kata/c.toml");
}

BootstrapParams Params() {
  BootstrapParams params;
  params.set_instance_id("box");
  params.set_namespace_("ns");
  params.set_log_level(-4);
  params.set_socket_dir("/run/elsewhere");
  wire::Any other;
  other.set_type_url("example.Other");
  *params.add_extensions()->mutable_value() = other;
  *params.add_extensions()->mutable_value() = OptionsAny("runtimeoptions.v1.Options", "/a.toml");
  return params;
}

TEST(StartInput, BootstrapParamsOfThisContainerAreRead) {
  auto input = ParseStartInput(Params().SerializeAsString(), "box", "ns");

  ASSERT_TRUE(input.ok()) << input.status();
  EXPECT_EQ(input->socket_directory, "/run/elsewhere");
  EXPECT_EQ(ParseRuntimeOptions(input->options)->config_path, "/a.toml");
}

TEST(StartInput, WhatNamesAnotherContainerIsNoBootstrapParams) {
  auto input = ParseStartInput(Params().SerializeAsString(), "other", "ns");

  ASSERT_TRUE(input.ok()) << input.status();
  EXPECT_EQ(input->socket_directory, "");
}

TEST(StartInput, WrappedOptionsAreTakenOut) {
  BootstrapParams params = Params();
  wire::Any* value = params.mutable_extensions(1)->mutable_value();
  wire::Any wrapped;
  wrapped.set_type_url("type.googleapis.com/google.protobuf.Any");
  wrapped.set_value(value->SerializeAsString());
  *value = wrapped;

  EXPECT_EQ(ParseRuntimeOptions(ParseStartInput(params.SerializeAsString(), "box", "ns")->options)->config_path,
            "/a.toml");
}

TEST(StartInput, RelativeSocketDirectoryIsRefused) {
  BootstrapParams params = Params();
  params.set_socket_dir("run");

  EXPECT_EQ(ParseStartInput(params.SerializeAsString(), "box", "ns").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(StartInput, GarbageIsNamed) {
  EXPECT_EQ(ParseStartInput("\xff\xff\xff", "box", "ns").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(StartInput, IsReadToItsEnd) {
  Pipe pipe;
  const std::string sent(300000, 'x');
  std::thread writer([&pipe, &sent] {
    EXPECT_TRUE(WriteAll(pipe.write.get(), sent).ok());
    pipe.write.reset();
  });

  auto read = ReadCallerInput(pipe.read.get(), std::chrono::seconds(20));

  writer.join();
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, sent);
}

TEST(StartInput, SilentCallerHasNothingToSay) {
  Pipe pipe;

  auto read = ReadCallerInput(pipe.read.get(), std::chrono::milliseconds(50));

  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, "");
}

TEST(StartInput, CallerThatNeverClosesIsAnError) {
  Pipe pipe;
  ASSERT_TRUE(WriteAll(pipe.write.get(), "x").ok());

  EXPECT_EQ(ReadCallerInput(pipe.read.get(), std::chrono::milliseconds(50)).status().message(),
            "reading the options on standard input: its end did not come within 50 ms");
}

TEST(StartInput, TerminalAndClosedDescriptorGiveNothing) {
  UniqueFd terminal(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_EQ(::unlockpt(terminal.get()), 0);
  UniqueFd end(::open(::ptsname(terminal.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_TRUE(end.valid());
  const auto begin = std::chrono::steady_clock::now();

  EXPECT_EQ(*ReadCallerInput(end.get(), std::chrono::seconds(60)), "");
  EXPECT_EQ(*ReadCallerInput(-1 + 1000000, std::chrono::seconds(60)), "");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
}

TEST(StartInput, HasALimit) {
  UniqueFd zero(::open("/dev/zero", O_RDONLY | O_CLOEXEC));

  EXPECT_EQ(ReadCallerInput(zero.get(), std::chrono::seconds(60)).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(RuntimeOptions, PathWinsOverBody) {
  auto options = ParseRuntimeOptions(OptionsAny("example.com/runtimeoptions.v1.Options", "/a.toml", "x = 1"));
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->config_path, "/a.toml");
  EXPECT_EQ(options->config_body, "");

  options = ParseRuntimeOptions(OptionsAny("runtimeoptions.v1.Options", "", "x = 1"));
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->config_body, "x = 1");
}

TEST(RuntimeOptions, ForeignTypesCountAsNone) {
  for (const char* type : {"containerd.runc.v1.Options", "xruntimeoptions.v1.Options", "", "example.Unknown"}) {
    auto options = ParseRuntimeOptions(OptionsAny(type, "/a.toml"));
    ASSERT_TRUE(options.ok()) << options.status();
    EXPECT_TRUE(options->empty()) << type;
  }
}

TEST(RuntimeOptions, OwnTypeMustBeReadable) {
  wire::Any any;
  any.set_type_url("runtimeoptions.v1.Options");
  any.set_value("\xff\xff");

  EXPECT_EQ(ParseRuntimeOptions(any).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(RuntimeOptionsOfRunc, GiveTheShimsCgroup) {
  // shim_cgroup (3) between binary_name (6) and systemd_cgroup (9).
  wire::Any any;
  any.set_type_url("containerd.runc.v1.Options");
  any.set_value(std::string("\x32\x04runc\x1a\x06/shims\x48\x01"));
  auto options = ParseRuntimeOptions(any);

  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->shim_cgroup, "/shims");
  EXPECT_TRUE(options->empty());
  any.set_value("\x1a\x7f");
  EXPECT_TRUE(absl::IsInvalidArgument(ParseRuntimeOptions(any).status()));
}

}  // namespace
}  // namespace kata::shimv2
