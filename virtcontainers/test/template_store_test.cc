// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/template/template_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/base/fd.h"
#include "virtcontainers/template/template_request.h"

namespace kata::virtcontainers {
namespace {

using Standing = TemplateStore::Standing;

class TemplateStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/templates-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void Make(const std::string& key) {
    auto lock = store_().Lock(key);
    ASSERT_TRUE(lock.ok()) << lock.status();
    auto fresh = store_().Begin(key);
    ASSERT_TRUE(fresh.ok()) << fresh.status();
    ASSERT_TRUE(WriteFileAtomically(*fresh + "/memory", std::string(10'000, 'm'), 0600).ok());
    ASSERT_TRUE(store_().Publish(key).ok());
  }
  void Age(const std::string& name, time_t seconds) {
    const timespec then{::time(nullptr) - seconds, 0};
    const timespec times[2] = {then, then};
    ASSERT_EQ(::utimensat(AT_FDCWD, (directory_ + "/templates/" + name).c_str(), times, 0), 0);
  }
  TemplateStore store_() const { return TemplateStore(directory_ + "/templates"); }

  std::string directory_;
  const std::string key_ = TemplateStore::KeyOf("a machine");
};

TEST_F(TemplateStoreTest, IsWantedUntilItIsThere) {
  EXPECT_EQ(store_().Ask(key_, true), Standing::kWanted);
  Make(key_);
  EXPECT_EQ(store_().Ask(key_, true), Standing::kReady);
  EXPECT_TRUE(std::filesystem::exists(store_().DirectoryOf(key_) + "/memory"));
  struct stat info {};
  ASSERT_EQ(::stat((directory_ + "/templates").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  auto all = store_().List();
  ASSERT_TRUE(all.ok());
  ASSERT_EQ(all->size(), 1u);
  EXPECT_EQ((*all)[0].key, key_);
  EXPECT_GE((*all)[0].bytes, 10'000u);
  ASSERT_TRUE(store_().Remove(key_).ok());
  EXPECT_TRUE(store_().Remove(key_).ok());
  EXPECT_EQ(store_().Ask(key_, true), Standing::kWanted);
}

TEST_F(TemplateStoreTest, AnUnusualShapeIsWantedTheSecondTime) {
  EXPECT_EQ(store_().Ask(key_, false), Standing::kSeenFirst);
  EXPECT_EQ(store_().Ask(key_, false), Standing::kWanted);
}

TEST_F(TemplateStoreTest, OneMakesIt) {
  auto first = store_().Lock(key_);
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(absl::IsUnavailable(store_().Lock(key_).status()));
  EXPECT_TRUE(store_().Lock(TemplateStore::KeyOf("another")).ok());
  first->reset();
  EXPECT_TRUE(store_().Lock(key_).ok());
}

TEST_F(TemplateStoreTest, WhatAKilledBuilderHasLeftIsReplaced) {
  ASSERT_TRUE(store_().Lock(key_).ok());
  auto half = store_().Begin(key_);
  ASSERT_TRUE(half.ok());
  ASSERT_TRUE(WriteFileAtomically(*half + "/half", "", 0600).ok());
  EXPECT_EQ(store_().Ask(key_, true), Standing::kWanted);
  EXPECT_EQ(store_().Unfinished(), std::vector<std::string>{key_});
  Make(key_);
  EXPECT_TRUE(store_().Unfinished().empty());
  EXPECT_FALSE(std::filesystem::exists(store_().DirectoryOf(key_) + "/half"));
}

TEST_F(TemplateStoreTest, AFailureIsRememberedForAWhile) {
  ASSERT_TRUE(store_().Lock(key_).ok());
  ASSERT_TRUE(store_().Begin(key_).ok());
  store_().GiveUp(key_, "no room");
  EXPECT_EQ(store_().Ask(key_, true), Standing::kFailed);
  EXPECT_EQ(store_().WhyNot(key_), "no room");
  EXPECT_EQ(store_().List()->at(0).why_not, "no room");
  EXPECT_FALSE(std::filesystem::exists(store_().DirectoryOf(key_) + ".new"));
  Age(key_ + ".failed", 601);
  EXPECT_EQ(store_().Ask(key_, true), Standing::kWanted);
  Make(key_);
  EXPECT_EQ(store_().WhyNot(key_), "");
}

TEST_F(TemplateStoreTest, ThoseNotUsedForLongestGo) {
  for (size_t i = 0; i < kTemplatesMax + 2; ++i) {
    const std::string key = TemplateStore::KeyOf(std::to_string(i));
    Make(key);
    Age(key, static_cast<time_t>(100 * (i + 1)));
  }
  EXPECT_EQ(store_().Ask(TemplateStore::KeyOf(std::to_string(kTemplatesMax + 1)), true), Standing::kReady);  // a use
  ASSERT_TRUE(store_().Prune().ok());
  EXPECT_EQ(store_().List()->size(), kTemplatesMax);
  EXPECT_EQ(store_().Ask(TemplateStore::KeyOf(std::to_string(kTemplatesMax + 1)), true), Standing::kReady);
  EXPECT_EQ(store_().Ask(TemplateStore::KeyOf(std::to_string(kTemplatesMax)), true), Standing::kWanted);
}

TEST_F(TemplateStoreTest, WhereItCannotBeIsNamed) {
  ASSERT_TRUE(WriteFileAtomically(directory_ + "/templates", "no directory", 0600).ok());
  EXPECT_THAT(std::string(store_().Prepare().message()), testing::HasSubstr(directory_ + "/templates"));
  EXPECT_FALSE(store_().Lock(key_).ok());
  EXPECT_EQ(store_().Ask(key_, false), Standing::kSeenFirst);
}

TEST_F(TemplateStoreTest, OnlyNamesOfTemplatesAreRemoved) {
  ASSERT_TRUE(WriteFileAtomically(directory_ + "/file", "", 0600).ok());
  EXPECT_FALSE(store_().Remove("../file").ok());
  EXPECT_FALSE(store_().Remove("").ok());
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/file"));
}

TEST(TemplateRequestTest, ComesAcross) {
  TemplateRequest request;
  request.spec.emulator = "/usr/bin/qemu-system-x86_64";
  request.spec.kernel_params = "a \"b\" c";
  request.spec.vcpus = 3;
  request.spec.memory_max_mib = 4096;
  request.spec.accelerator = hypervisors::Accelerator::kTcg;
  request.store = "/store";
  request.dial_timeout = 7;
  auto back = ParseTemplateRequest(ToText(request));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(ToText(*back), ToText(request));
  EXPECT_EQ(back->spec.kernel_params, "a \"b\" c");
  EXPECT_EQ(back->spec.accelerator, hypervisors::Accelerator::kTcg);
  EXPECT_TRUE(back->spec.is_cloneable);
}

TEST(TemplateRequestTest, BadOnesAreRefused) {
  for (const char* text : {"", "{}", "[]", "{\"emulator\": 1}", "null"}) EXPECT_FALSE(ParseTemplateRequest(text).ok());
}

}  // namespace
}  // namespace kata::virtcontainers
