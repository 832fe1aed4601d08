// SPDX-License-Identifier: Apache-2.0
#include "tools/kata-ctl/support/redact.h"

#include <gtest/gtest.h>

namespace kata::ctl {
namespace {

TEST(Redacted, HidesWhatStandsBehindTheWordsOfSecrets) {
  EXPECT_EQ(Redacted("user=me password=hunter2 next=1\n"), "user=me password=[redacted] next=1\n");
  EXPECT_EQ(Redacted("{\"API_KEY\": \"abc\", \"x\": 1}"), "{\"API_KEY\": \"[redacted]\", \"x\": 1}");
  EXPECT_EQ(Redacted("msg=\"env DB_PASSWORD_FILE=/x\""), "msg=\"env DB_PASSWORD_FILE=[redacted]\"");
  EXPECT_EQ(Redacted("Authorization: Bearer aaa.bbb\nend"), "Authorization: [redacted]\nend");
  EXPECT_EQ(Redacted("msg=\"{\\\"token\\\": \\\"t1\\\"}\""), "msg=\"{\\\"token\\\": \\\"[redacted]\"}\"");
}

TEST(Redacted, LeavesTheRest) {
  for (const char* text :
       {"", "the token was not given", "secrets of the pod\nare mounted", "memory: 12 password", "token="})
    EXPECT_EQ(Redacted(text), text);
}

}  // namespace
}  // namespace kata::ctl
