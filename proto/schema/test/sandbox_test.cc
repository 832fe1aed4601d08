// SPDX-License-Identifier: Apache-2.0
// The bytes of the Sandbox service's messages, by the field numbers of docs/shim-contract.md section 9.
#include <string>

#include <gtest/gtest.h>

#include "proto/schema/sandbox.ttrpc.h"

namespace containerd::runtime::sandbox::v1 {
namespace {

TEST(SandboxSchemaTest, CreateRequestHasTheContractsFields) {
  CreateSandboxRequest request;
  ASSERT_TRUE(
      request.ParseFromString(std::string("\x0a\x01s"                       // 1 sandbox_id
                                          "\x12\x02/b"                      // 2 bundle_path
                                          "\x1a\x03\x0a\x01t"               // 3 rootfs, its type
                                          "\x22\x03\x0a\x01u"               // 4 options, their type
                                          "\x2a\x02/n"                      // 5 netns_path
                                          "\x32\x06\x0a\x01k\x12\x01v")));  // 6 annotations
  EXPECT_EQ(request.sandbox_id(), "s");
  EXPECT_EQ(request.bundle_path(), "/b");
  ASSERT_EQ(request.rootfs_size(), 1);
  EXPECT_EQ(request.rootfs(0).type(), "t");
  EXPECT_EQ(request.options().type_url(), "u");
  EXPECT_EQ(request.netns_path(), "/n");
  EXPECT_EQ(request.annotations().at("k"), "v");
}

TEST(SandboxSchemaTest, StatusResponseHasTheContractsFields) {
  SandboxStatusResponse response;
  response.set_sandbox_id("s");
  response.set_pid(7);
  response.set_state("SANDBOX_READY");
  response.mutable_created_at()->set_seconds(1);
  response.mutable_exited_at()->set_seconds(2);
  response.mutable_extra()->set_type_url("u");
  EXPECT_EQ(response.SerializeAsString(),
            "\x0a\x01s\x10\x07\x1a\x0dSANDBOX_READY"
            "\x2a\x02\x08\x01\x32\x02\x08\x02\x3a\x03\x0a\x01u");
}

}  // namespace
}  // namespace containerd::runtime::sandbox::v1
