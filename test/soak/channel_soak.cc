// SPDX-License-Identifier: Apache-2.0
// Boots one virtual machine of an installation and soaks the channel to its agent. usage:
//   channel_soak PREFIX CALLS RECONNECTS SEED
// CALLS pings of 64 B to 1 MiB either way, kParallel at once, with idle gaps; RECONNECTS times the
// host hangs up in the middle of them and connects again. Every answer is compared byte by byte. A
// call that is not answered in kCallTimeout is a stall. Exit status 0 when every call was answered.
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

#include <absl/strings/numbers.h>

#include "hypervisors/hypervisor.h"
#include "proto/base/status.h"
#include "proto/schema/agent.ttrpc.h"
#include "test/guest/test_machine.h"
#include "virtcontainers/agent_client/channel.h"
#include "virtcontainers/network/network_namespace.h"

namespace {

using namespace kata;
using Clock = std::chrono::steady_clock;

constexpr int kParallel = 8;
constexpr double kSizeMin = 64;
constexpr double kSizeMax = 1 << 20;
constexpr std::chrono::seconds kCallTimeout{60};
constexpr std::chrono::seconds kBootTimeout{120};
constexpr int kIdleEvery = 50;
constexpr std::chrono::milliseconds kIdle{200};

struct Plan {
  std::string prefix;
  int calls = 0;
  int reconnects = 0;
  uint64_t seed = 0;
};

struct Soak {
  std::shared_ptr<hypervisors::Hypervisor> machine;
  virtcontainers::BootToken token;
  std::mt19937_64 random;
  std::string bytes;  // what payloads are cut from
  int answered = 0;
  int broken = 0;  // by a hang-up of this side
  Clock::duration slowest{};
};

size_t RandomSize(std::mt19937_64& random) {
  std::uniform_real_distribution<double> exponent(std::log(kSizeMin), std::log(kSizeMax));
  return static_cast<size_t>(std::exp(exponent(random)));
}

// The agent repeats the payload up to the size asked for.
bool IsRepeated(const std::string& payload, const std::string& reply) {
  if (reply.compare(0, payload.size(), payload, 0, reply.size()) != 0) return false;
  return reply.size() <= payload.size() ||
         reply.compare(payload.size(), std::string::npos, reply, 0, reply.size() - payload.size()) == 0;
}

struct Round {
  explicit Round(asio::any_io_executor executor) : done(std::move(executor)) {}
  std::shared_ptr<ttrpc::Connection> connection;
  int left = 0;  // calls to begin
  int running = 0;
  bool is_cut = false;
  absl::Status status;
  Latch done;
};

Co<absl::Status> MakeCalls(Soak* soak, std::shared_ptr<Round> round) {
  agent::v1::AgentClient client(round->connection);
  while (round->left > 0 && round->status.ok() && !round->is_cut) {
    const int number = round->left--;
    agent::v1::PingRequest request;
    const size_t size = RandomSize(soak->random);
    const std::string payload = soak->bytes.substr(soak->random() % 4096, size);
    request.set_payload(payload);
    request.set_reply_size(static_cast<uint32_t>(RandomSize(soak->random)));
    const size_t wanted = request.reply_size();
    const auto begin = Clock::now();
    auto response = co_await client.Ping(std::move(request), kCallTimeout);
    if (round->is_cut) {
      ++soak->broken;
      break;
    }
    if (!response.ok()) {
      round->status = Annotate(response.status(), absl::StrCat("a call with ", size, " and ", wanted, " bytes"));
    } else if (response->payload().size() != wanted || !IsRepeated(payload, response->payload())) {
      round->status = absl::DataLossError(absl::StrCat("an answer of ", wanted, " bytes is wrong"));
    } else {
      ++soak->answered;
      soak->slowest = std::max(soak->slowest, Clock::now() - begin);
    }
    if (number % kIdleEvery == 0) co_await Sleep(kIdle);
  }
  if (--round->running == 0) round->done.Set();
  co_return absl::OkStatus();
}

// `calls` calls on a connection of its own; with `cuts` the host hangs up before the last of them.
Co<absl::Status> RunRound(Soak* soak, int calls, bool cuts) {
  auto executor = co_await asio::this_coro::executor;
  auto peer = co_await virtcontainers::ConnectAgent(soak->machine, soak->token, kBootTimeout, ttrpc::kFrameDataMax);
  if (!peer.ok()) co_return peer.status();
  auto round = std::make_shared<Round>(executor);
  round->connection = peer->connection;
  round->left = calls;
  round->running = kParallel;
  const int before = soak->answered;
  for (int i = 0; i < kParallel; ++i) Spawn(executor, "calls", MakeCalls(soak, round));
  while (cuts && !round->done.is_set() && soak->answered - before < calls / 2) {
    co_await Sleep(std::chrono::milliseconds(1));
  }
  if (cuts) {
    round->is_cut = true;
    round->connection->Close(absl::CancelledError("hung up"));
  }
  co_await round->done.Wait();
  round->connection->Close(absl::CancelledError("done"));
  co_return round->status;
}

Co<absl::Status> RunSoak(Plan plan, std::string directory) {
  auto executor = co_await asio::this_coro::executor;
  Soak soak;
  CO_ASSIGN_OR_RETURN(soak.token, virtcontainers::MakeBootToken());
  CO_ASSIGN_OR_RETURN(auto spec, test::MachineSpec(plan.prefix, directory, soak.token));
  CO_ASSIGN_OR_RETURN(auto netns, virtcontainers::NetworkNamespace::Open(std::string()));
  soak.random.seed(plan.seed);
  while (soak.bytes.size() < static_cast<size_t>(kSizeMax) + 4096) soak.bytes += static_cast<char>(soak.random());
  soak.machine = hypervisors::MakeLibvirtHypervisor(executor);
  const auto begin = Clock::now();
  absl::Status status = co_await soak.machine->Start(std::move(spec), netns->fd());
  const int rounds = plan.reconnects + 1;
  for (int i = 0; status.ok() && i < rounds; ++i) {
    const bool is_last = i + 1 == rounds;
    const int calls = is_last ? plan.calls - soak.answered : plan.calls / rounds;
    status = co_await RunRound(&soak, calls, !is_last);
    if (!status.ok()) status = Annotate(status, absl::StrCat("connection ", i + 1));
  }
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  std::printf("%d calls answered on %d connections, %d cut off by us, slowest %lld ms, all %lld ms\n", soak.answered,
              rounds, soak.broken, static_cast<long long>(duration_cast<milliseconds>(soak.slowest).count()),
              static_cast<long long>(duration_cast<milliseconds>(Clock::now() - begin).count()));
  absl::Status stopped = co_await soak.machine->Stop();
  co_return status.ok() ? stopped : status;
}

}  // namespace

int main(int argc, char** argv) {
  Plan plan;
  if (argc != 5 || !absl::SimpleAtoi(argv[2], &plan.calls) || plan.calls < 1 ||
      !absl::SimpleAtoi(argv[3], &plan.reconnects) || plan.reconnects < 0 || !absl::SimpleAtoi(argv[4], &plan.seed)) {
    std::fprintf(stderr, "usage: %s PREFIX CALLS RECONNECTS SEED\n", argv[0]);
    return 64;
  }
  plan.prefix = argv[1];
  return test::RunWithDirectory("channel-soak",
                                [plan](std::string directory) { return RunSoak(plan, std::move(directory)); });
}
