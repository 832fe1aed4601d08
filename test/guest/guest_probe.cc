// SPDX-License-Identifier: Apache-2.0
// Boots a machine of an installation with two disks and no share, and drives its agent directly: devices, protocol,
// what a container may and may not do. Arguments: PREFIX DISK: an ext4 image with busybox in it; beside it DISK.2 and
// DISK.3, the same, the last of which is plugged in while the machine runs. Prints one line per check. Exit status 0
// when all are good.
#include <fcntl.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "hypervisors/hypervisor.h"
#include "proto/base/status.h"
#include "proto/base/stdio_limits.h"
#include "proto/schema/agent.ttrpc.h"
#include "test/guest/test_machine.h"
#include "virtcontainers/agent_client/channel.h"
#include "virtcontainers/network/network_namespace.h"

namespace {

using namespace kata;
using agent::v1::AgentClient;
using agent::v1::StdioMessage;
using ClientStdio = ttrpc::MessageStream<StdioMessage, StdioMessage>;

constexpr std::chrono::seconds kCallTimeout{60};
constexpr std::chrono::seconds kBootTimeout{120};
constexpr size_t kBigOutput = 3u << 20;
// Serials and ids of the disks, and where the guest mounts them.
constexpr char kFirstSerial[] = "first-disk";
constexpr char kSecondSerial[] = "second-disk";
constexpr char kFirstRoot[] = "/run/first";
constexpr char kSecondRoot[] = "/run/second";
constexpr char kPluggedSerial[] = "plugged-disk";
constexpr char kPluggedRoot[] = "/run/plugged";
constexpr uint32_t kRootPorts = 3;  // with fewer the disk would come behind a SCSI controller
int g_failures = 0;

void Check(bool good, const std::string& what, const std::string& detail) {
  std::printf("%s %s%s%s\n", good ? "ok  " : "FAIL", what.c_str(), detail.empty() ? "" : ": ", detail.c_str());
  std::fflush(stdout);
  if (!good) ++g_failures;
}

std::string ProcessJson(const std::string& args, bool terminal) {
  return R"({"terminal":)" + std::string(terminal ? "true" : "false") + R"(,"user":{"uid":0,"gid":0},"args":[)" + args +
         R"(],"env":["PATH=/bin"],"cwd":"/","capabilities":{"bounding":["CAP_KILL","CAP_CHOWN"],)"
         R"("effective":["CAP_KILL"],"permitted":["CAP_KILL","CAP_CHOWN"]},)"
         R"("noNewPrivileges":true})";
}

std::string SpecJson(const std::string& rootfs, const std::string& args, bool terminal) {
  return R"({"ociVersion":"1.1.0","process":)" + ProcessJson(args, terminal) + R"(,"root":{"path":")" + rootfs +
         R"(","readonly":false},"hostname":"box","mounts":[)"
         R"({"destination":"/proc","type":"proc","source":"proc",)"
         R"("options":["nosuid","noexec","nodev"]},)"
         R"({"destination":"/dev","type":"tmpfs","source":"tmpfs",)"
         R"("options":["nosuid","mode=755","size=65536k"]},)"
         R"({"destination":"/dev/pts","type":"devpts","source":"devpts",)"
         R"("options":["nosuid","noexec","newinstance",)"
         R"("ptmxmode=0666","mode=0620","gid=5"]},)"
         R"({"destination":"/dev/mqueue","type":"mqueue","source":"mqueue","options":["nosuid"]},)"
         R"({"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","ro"]},)"
         R"({"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup",)"
         R"("options":["ro","nosuid"]},)"
         R"({"destination":"/etc/a-bound-file","type":"bind","source":"/proc/version",)"
         R"("options":["rbind","ro"]}],)"
         R"("linux":{"namespaces":[{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"mount"},)"
         R"({"type":"network"}],)"
         R"("resources":{"devices":[{"allow":false,"access":"rwm"}],"memory":{"limit":67108864},)"
         R"("pids":{"limit":64},)"
         R"("cpu":{"shares":512,"quota":90000,"period":100000}},)"
         R"("maskedPaths":["/proc/meminfo","/proc/acpi"],)"
         R"("readonlyPaths":["/proc/sys"],"seccomp":{"defaultAction":"SCMP_ACT_ALLOW",)"
         R"("architectures":["SCMP_ARCH_X86_64"],"syscalls":[{)"
         R"("names":["mkdir","mkdirat","no_such_call"],)"
         R"("action":"SCMP_ACT_ERRNO","errnoRet":77}]}}})";
}

struct Output {
  std::string text;
  std::string error;
  absl::Status status;
};

// Sends `input`, ends stdin, and reads until both outputs have ended.
Co<Output> RunStdio(std::shared_ptr<AgentClient> client, std::string id, std::string exec_id, std::string input,
                    bool ends_stdin) {
  Output out;
  auto stream = co_await client->Stdio();
  if (!stream.ok()) {
    out.status = stream.status();
    co_return out;
  }
  std::shared_ptr<ClientStdio> io = *stream;
  StdioMessage open;
  open.mutable_open()->set_container_id(id);
  open.mutable_open()->set_exec_id(exec_id);
  out.status = co_await io->Send(std::move(open));
  if (!input.empty()) {
    StdioMessage data;
    data.mutable_data()->set_channel(StdioMessage::STDIN);
    data.mutable_data()->set_data(input);
    out.status = co_await io->Send(std::move(data));
  }
  if (ends_stdin) {
    StdioMessage end;
    end.set_end(StdioMessage::STDIN);
    out.status = co_await io->Send(std::move(end));
  }
  int ended = 0;
  while (ended < 2) {
    auto message = co_await io->Receive();
    if (!message.ok()) {
      out.status = message.status();
      co_return out;
    }
    if (message->kind_case() == StdioMessage::kEnd) ++ended;
    if (!message->has_data()) continue;
    std::string& target = message->data().channel() == StdioMessage::STDOUT ? out.text : out.error;
    target += message->data().data();
    StdioMessage credit;
    credit.mutable_credit()->set_channel(message->data().channel());
    credit.mutable_credit()->set_bytes(static_cast<uint32_t>(StdioCost(message->data().data().size())));
    // The agent ends the call once all output has left, whether or not the last credit has come.
    absl::Status credited = co_await io->Send(std::move(credit));
    if (!credited.ok() && !absl::IsUnavailable(credited)) out.status = credited;
  }
  co_return out;
}

Co<int> WaitFor(std::shared_ptr<AgentClient> client, std::string id, std::string exec_id) {
  agent::v1::ProcessId request;
  request.set_container_id(id);
  request.set_exec_id(exec_id);
  auto response = co_await client->WaitProcess(std::move(request), kCallTimeout);
  co_return response.ok() ? static_cast<int>(response->exit_status()) : -1;
}

struct ExecResult {
  Output output;
  int status = -1;
};

Co<ExecResult> RunExec(std::shared_ptr<AgentClient> client, std::string exec_id, std::string args, bool terminal,
                       std::string input) {
  ExecResult out;
  agent::v1::ExecRequest request;
  request.set_container_id("c1");
  request.set_exec_id(exec_id);
  request.set_process_json(ProcessJson(args, terminal));
  request.set_has_stdin(true);
  request.set_has_stdout(true);
  request.set_has_stderr(!terminal);
  request.set_terminal_width(terminal ? 91 : 0);
  request.set_terminal_height(terminal ? 31 : 0);
  auto made = co_await client->Exec(std::move(request), kCallTimeout);
  if (!made.ok()) {
    out.output.status = made.status();
    co_return out;
  }
  out.output = co_await RunStdio(client, "c1", exec_id, std::move(input), !terminal);
  out.status = co_await WaitFor(client, "c1", exec_id);
  agent::v1::ProcessId process;
  process.set_container_id("c1");
  process.set_exec_id(exec_id);
  auto removed = co_await client->RemoveProcess(std::move(process), kCallTimeout);
  if (!removed.ok()) out.output.status = removed.status();
  co_return out;
}

Co<void> Shell(std::shared_ptr<AgentClient> client, std::string name, std::string script, std::string wanted) {
  static int number = 0;
  std::string args = R"("sh","-c",")" + script + "\"";
  std::string exec_id = "e" + std::to_string(++number);
  ExecResult result = co_await RunExec(client, std::move(exec_id), std::move(args), false, std::string());
  const bool good = result.output.status.ok() && result.output.text.find(wanted) != std::string::npos;
  Check(good, name, good ? "" : result.output.text + result.output.error + result.output.status.ToString());
}

Co<void> CheckExecs(std::shared_ptr<AgentClient> client) {
  ExecResult cat = co_await RunExec(client, "cat", R"("cat")", false, "through and back");
  Check(cat.output.text == "through and back" && cat.status == 0, "stdin reaches stdout", cat.output.status.ToString());
  ExecResult big =
      co_await RunExec(client, "big", R"("sh","-c","head -c 3145728 /dev/zero; echo e >&2; exit 7")", false, "");
  Check(big.output.text.size() == kBigOutput && big.output.error == "e\n" && big.status == 7, "large output, exit code",
        std::to_string(big.output.text.size()) + " " + std::to_string(big.status));
  ExecResult killed = co_await RunExec(client, "kill", R"("sh","-c","kill -9 $$")", false, "");
  Check(killed.status == 137, "signal gives 128 + number", std::to_string(killed.status));
  ExecResult tty = co_await RunExec(client, "tty", R"("sh","-c","tty; stty size; test -t 0 && echo yes")", true, "");
  Check(tty.output.text.find("/dev/pts/") != std::string::npos && tty.output.text.find("31 91") != std::string::npos &&
            tty.output.text.find("yes") != std::string::npos,
        "exec with a terminal", tty.output.text + tty.output.status.ToString());
  ExecResult missing = co_await RunExec(client, "m1", R"("nonesuch")", false, "");
  Check(missing.output.status.message() == "exec: \"nonesuch\": executable file not found in $PATH", "missing program",
        missing.output.status.ToString());
  co_await Shell(client, "hostname", "hostname", "box\n");
  co_await Shell(client, "pid 1 is the container's init", "cat /proc/1/comm", "sleep");
  co_await Shell(client, "memory limit", "cat /sys/fs/cgroup/memory.max", "67108864");
  co_await Shell(client, "cpu limit", "cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu.weight", "90000 100000\n20\n");
  co_await Shell(client, "cgroup namespace", "cat /proc/self/cgroup", "0::/\n");
  co_await Shell(client, "seccomp", "mkdir /x 2>&1; grep Seccomp: /proc/self/status", "Seccomp:\t2");
  co_await Shell(client, "seccomp errno", "mkdir /x 2>&1", "mkdir: can't create directory '/x'");
  co_await Shell(client, "capabilities", "grep -E 'Cap(Eff|Prm|Bnd)' /proc/self/status | tr -d '\\n'",
                 "CapPrm:\t0000000000000021CapEff:\t0000000000000021CapBnd:\t0000000000000021");
  co_await Shell(client, "device is denied", "cat /dev/vda 2>&1; head -c 1 /dev/kmsg 2>&1 || echo denied", "denied");
  co_await Shell(client, "devices work", "echo x > /dev/null && head -c 4 /dev/zero | wc -c", "4");
  co_await Shell(client, "masked path", "wc -c < /proc/meminfo", "0");
  co_await Shell(client, "read-only path", "echo 1 2>&1 > /proc/sys/kernel/panic || echo denied", "denied");
  co_await Shell(client, "bound file", "grep -c Linux /etc/a-bound-file", "1");
  co_await Shell(client, "no agent descriptors", "ls /proc/self/fd | tr '\\n' ' '", "0 1 2 3 ");
}

Co<void> CheckErrors(std::shared_ptr<AgentClient> client, std::string rootfs) {
  agent::v1::CreateContainerRequest create;
  create.set_container_id("c2");
  create.set_spec_json(SpecJson(rootfs, R"("/no/such")", false));
  auto made = co_await client->CreateContainer(std::move(create), kCallTimeout);
  Check(made.status().message() == "exec: \"/no/such\": no such file or directory", "create with a missing program",
        made.status().ToString());
  agent::v1::ProcessId unknown;
  unknown.set_container_id("c2");
  auto waited = co_await client->WaitProcess(std::move(unknown), kCallTimeout);
  Check(absl::IsNotFound(waited.status()), "a failed create leaves nothing", waited.status().ToString());
}

Co<void> CheckTerminalContainer(std::shared_ptr<AgentClient> client, std::string rootfs) {
  agent::v1::CreateContainerRequest create;
  create.set_container_id("c3");
  create.set_spec_json(
      SpecJson(rootfs, R"("sh","-c","test -c /dev/console && tty && read x && echo got $x; exit 3")", true));
  create.set_has_stdin(true);
  create.set_has_stdout(true);
  auto made = co_await client->CreateContainer(std::move(create), kCallTimeout);
  Check(made.ok(), "create with a terminal", made.status().ToString());
  agent::v1::ProcessId id;
  id.set_container_id("c3");
  auto started = co_await client->StartContainer(id, kCallTimeout);
  Check(started.ok(), "start with a terminal", started.status().ToString());
  Output output = co_await RunStdio(client, "c3", "", "hello\n", false);
  Check(output.text.find("got hello") != std::string::npos, "terminal of init", output.text + output.status.ToString());
  int status = co_await WaitFor(client, "c3", "");
  Check(status == 3, "exit code of init", std::to_string(status));
  auto removed = co_await client->RemoveContainer(id, kCallTimeout);
  Check(removed.ok(), "remove", removed.status().ToString());
}

Co<void> CheckCreatedKill(std::shared_ptr<AgentClient> client, std::string rootfs) {
  agent::v1::CreateContainerRequest create;
  create.set_container_id("c4");
  create.set_spec_json(SpecJson(rootfs, R"("sleep","100")", false));
  auto made = co_await client->CreateContainer(std::move(create), kCallTimeout);
  Check(made.ok(), "create", made.status().ToString());
  agent::v1::SignalRequest signal;
  signal.set_container_id("c4");
  signal.set_signal(9);
  auto killed = co_await client->SignalProcess(signal, kCallTimeout);
  Check(killed.ok(), "SIGKILL before start", killed.status().ToString());
  int status = co_await WaitFor(client, "c4", "");
  Check(status == 137, "exit code of the killed init", std::to_string(status));
  auto again = co_await client->SignalProcess(std::move(signal), kCallTimeout);
  Check(again.status().message() == "process already finished", "second kill", again.status().ToString());
  agent::v1::ProcessId id;
  id.set_container_id("c4");
  auto removed = co_await client->RemoveContainer(std::move(id), kCallTimeout);
  Check(removed.ok(), "remove", removed.status().ToString());
}

// On a connection that has said Hello already: it may again, with the right token only.
Co<absl::Status> Probe(std::shared_ptr<AgentClient> client, std::string token) {
  const std::string rootfs = kFirstRoot;
  agent::v1::HelloRequest hello;
  hello.set_version(virtcontainers::kAgentProtocolVersion);
  hello.set_token("not it");
  auto wrong = co_await client->Hello(hello, kCallTimeout);
  Check(absl::IsFailedPrecondition(wrong.status()), "wrong token is refused", wrong.status().ToString());
  hello.set_token(token);
  hello.set_version(7);
  hello.set_version_min(6);
  auto later = co_await client->Hello(hello, kCallTimeout);
  Check(absl::IsFailedPrecondition(later.status()), "versions without one in common", later.status().ToString());
  hello.set_version_min(1);
  hello.set_token(token);
  auto greeted = co_await client->Hello(std::move(hello), kCallTimeout);
  CO_RETURN_IF_ERROR(greeted.status());
  Check(greeted->memory_total_bytes() > 0, "hello", greeted->kernel_release());
  Check(greeted->version() == virtcontainers::kAgentProtocolVersion, "the highest version of both",
        std::to_string(greeted->version()));
  agent::v1::PingRequest ping;
  ping.set_reply_size(3u << 20);
  auto pong = co_await client->Ping(std::move(ping), kCallTimeout);
  Check(pong.ok(), "3 MiB ping", pong.status().ToString());
  agent::v1::CreateSandboxRequest sandbox;
  sandbox.set_sandbox_id("s");
  sandbox.set_hostname("vm");
  agent::v1::Storage* storage = sandbox.add_storages();
  storage->set_driver("blk");
  storage->set_fstype("ext4");
  storage->set_source(kFirstSerial);
  storage->set_mount_point(kFirstRoot);
  auto made = co_await client->CreateSandbox(std::move(sandbox), kCallTimeout);
  Check(made.ok() || absl::IsFailedPrecondition(made.status()), "sandbox", made.status().ToString());

  agent::v1::CreateContainerRequest create;
  create.set_container_id("c1");
  create.set_spec_json(SpecJson(rootfs, R"("sleep","1000")", false));
  auto created = co_await client->CreateContainer(std::move(create), kCallTimeout);
  CO_RETURN_IF_ERROR(created.status());
  agent::v1::ProcessId id;
  id.set_container_id("c1");
  auto started = co_await client->StartContainer(id, kCallTimeout);
  CO_RETURN_IF_ERROR(started.status());
  co_await CheckExecs(client);
  co_await CheckErrors(client, rootfs);
  co_await CheckTerminalContainer(client, rootfs);
  co_await CheckCreatedKill(client, rootfs);
  auto begin = std::chrono::steady_clock::now();
  ExecResult quick = co_await RunExec(client, "quick", R"("true")", false, std::string());
  auto spent = std::chrono::steady_clock::now() - begin;
  Check(quick.status == 0, "exec of true, microseconds",
        std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(spent).count()));
  auto removed = co_await client->RemoveContainer(id, kCallTimeout);
  Check(removed.ok(), "remove of a running container", removed.status().ToString());
  auto twice = co_await client->RemoveContainer(std::move(id), kCallTimeout);
  Check(twice.ok(), "remove is idempotent", twice.status().ToString());
  co_return absl::OkStatus();
}

// A container whose root is a disk of its own, one that came with the machine's start.
Co<void> CheckDiskOfContainer(std::shared_ptr<hypervisors::Hypervisor> machine, std::shared_ptr<AgentClient> client,
                              hypervisors::Device disk) {
  agent::v1::CreateContainerRequest create;
  create.set_container_id("disk");
  create.set_spec_json(SpecJson(kSecondRoot, R"("sh","-c","touch /bin/x || exit 9")", false));
  agent::v1::Storage* storage = create.add_storages();
  storage->set_driver("blk");
  storage->set_fstype("ext4");
  storage->set_source(kSecondSerial);
  storage->set_mount_point(kSecondRoot);
  storage->add_options("ro");
  agent::v1::ProcessId id;
  id.set_container_id("disk");
  for (int round = 0; round < 2; ++round) {  // the second shows that the first has let go of the disk
    auto made = co_await client->CreateContainer(create, kCallTimeout);
    Check(made.ok(), "create on a disk", made.status().ToString());
    auto started = co_await client->StartContainer(id, kCallTimeout);
    int status = co_await WaitFor(client, "disk", "");
    Check(started.ok() && status == 9, "a container on a read-only disk", std::to_string(status));
    auto removed = co_await client->RemoveContainer(id, kCallTimeout);
    Check(removed.ok(), "removing it unmounts the disk", removed.status().ToString());
  }
  create.mutable_storages(0)->set_source("no-such-disk");
  auto missing = co_await client->CreateContainer(create, kCallTimeout);
  Check(absl::IsDeadlineExceeded(missing.status()), "a disk that does not come", missing.status().ToString());
  create.mutable_storages(0)->clear_source();
  auto unnamed = co_await client->CreateContainer(std::move(create), kCallTimeout);
  Check(absl::IsInvalidArgument(unnamed.status()), "a disk without a serial", unnamed.status().ToString());
  absl::Status twice = co_await machine->Attach(disk);
  Check(absl::IsAlreadyExists(twice), "the same id twice", twice.ToString());
  absl::Status fixed = co_await machine->Detach(kSecondSerial);
  Check(absl::IsNotFound(fixed), "detach of a device of the start", fixed.ToString());
}

// A disk that comes while the machine runs, is written to in the guest, and goes again.
Co<void> CheckPluggedDisk(std::shared_ptr<hypervisors::Hypervisor> machine, std::shared_ptr<AgentClient> client,
                          hypervisors::Device disk) {
  agent::v1::CreateContainerRequest create;
  create.set_container_id("plugged");
  create.set_spec_json(SpecJson(kPluggedRoot, R"("sh","-c","echo written in the guest >/written && sync")", false));
  agent::v1::Storage* storage = create.add_storages();
  storage->set_driver("blk");
  storage->set_fstype("ext4");
  storage->set_source(kPluggedSerial);
  storage->set_mount_point(kPluggedRoot);
  agent::v1::ProcessId id;
  id.set_container_id("plugged");
  for (int round = 0; round < 2; ++round) {  // the second shows that its port and its serial are free again
    absl::Status attached = co_await machine->Attach(disk);
    Check(attached.ok(), "attach a disk", attached.ToString());
    absl::Status twice = co_await machine->Attach(disk);
    Check(absl::IsAlreadyExists(twice), "attach it twice", twice.ToString());
    auto made = co_await client->CreateContainer(create, kCallTimeout);
    Check(made.ok(), "create on the plugged disk, found by its serial", made.status().ToString());
    auto started = co_await client->StartContainer(id, kCallTimeout);
    int status = co_await WaitFor(client, "plugged", "");
    Check(started.ok() && status == 0, "a container writes to the plugged disk", std::to_string(status));
    auto removed = co_await client->RemoveContainer(id, kCallTimeout);
    Check(removed.ok(), "removing it unmounts the plugged disk", removed.status().ToString());
    absl::Status detached = co_await machine->Detach(disk.id);
    Check(detached.ok(), "detach the disk", detached.ToString());
    absl::Status again = co_await machine->Detach(disk.id);
    Check(absl::IsNotFound(again), "detach it twice", again.ToString());
  }
  auto gone = co_await client->CreateContainer(std::move(create), kCallTimeout);
  Check(absl::IsDeadlineExceeded(gone.status()), "a detached disk is gone in the guest", gone.status().ToString());
}

Co<void> CheckRekey(std::shared_ptr<AgentClient> client) {
  agent::v1::RekeyRequest request;
  request.set_entropy(std::string(64, 'e'));
  request.set_hostname("renamed");
  auto done = co_await client->Rekey(request, kCallTimeout);
  Check(done.ok(), "rekey", done.status().ToString());
  request.set_entropy("short");
  auto refused = co_await client->Rekey(std::move(request), kCallTimeout);
  Check(absl::IsInvalidArgument(refused.status()), "rekey with too little entropy", refused.status().ToString());
}

Co<void> CheckClock(std::shared_ptr<AgentClient> client) {
  for (int64_t seconds : {100, -100}) {
    agent::v1::SyncClockRequest request;
    auto before = co_await client->SyncClock(request, kCallTimeout);
    request.set_correction_ns(seconds * 1'000'000'000);
    auto after = co_await client->SyncClock(std::move(request), kCallTimeout);
    const absl::Status status = before.ok() ? after.status() : before.status();
    const int64_t moved = status.ok() ? after->clock_realtime_ns() - before->clock_realtime_ns() : 0;
    Check(moved / 1'000'000'000 - seconds >= 0 &&
              moved / 1'000'000'000 - seconds < kCallTimeout / std::chrono::seconds(1),
          "the clock is corrected", absl::StrCat(status.ToString(), ", moved by ", moved, " ns"));
  }
}

absl::StatusOr<hypervisors::Device> OpenDisk(const std::string& path, const char* serial, bool is_read_only) {
  hypervisors::BlockDisk disk;
  disk.serial = serial;
  disk.is_read_only = is_read_only;
  UniqueFd file(::open(path.c_str(), (is_read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, absl::StrCat("opening \"", path, "\""));
  disk.file = std::make_shared<const UniqueFd>(std::move(file));
  return hypervisors::Device{serial, disk};
}

Co<absl::Status> ProbeMachine(std::shared_ptr<hypervisors::Hypervisor> machine, virtcontainers::BootToken token,
                              hypervisors::Device second, hypervisors::Device plugged) {
  for (int round = 0; round < 2; ++round) {
    CO_ASSIGN_OR_RETURN(auto peer,
                        co_await virtcontainers::ConnectAgent(machine, token, kBootTimeout, ttrpc::kFrameDataMax));
    auto client = std::make_shared<AgentClient>(peer.connection);
    Check(peer.features.contains("storage-blk") && peer.features.contains("rekey") && peer.features.contains("clock"),
          "features", "");
    absl::Status status = co_await Probe(client, token.secret);
    Check(status.ok(), round == 0 ? "first connection" : "second connection", status.ToString());
    co_await CheckRekey(client);
    co_await CheckClock(client);
    if (round == 1) {
      co_await CheckDiskOfContainer(machine, client, second);
      co_await CheckPluggedDisk(machine, client, plugged);
      wire::Empty nothing;
      auto down = co_await client->Shutdown(std::move(nothing), kCallTimeout);
      Check(down.ok(), "shutdown", down.status().ToString());
    }
    peer.connection->Close(absl::CancelledError("done"));
  }
  co_await machine->WaitStopped();
  co_return absl::OkStatus();
}

Co<absl::Status> Run(std::string prefix, std::string image, std::string directory) {
  auto executor = co_await asio::this_coro::executor;
  CO_ASSIGN_OR_RETURN(auto token, virtcontainers::MakeBootToken());
  CO_ASSIGN_OR_RETURN(auto spec, test::MachineSpec(prefix, directory, token));
  CO_ASSIGN_OR_RETURN(auto netns, virtcontainers::NetworkNamespace::Open(std::string()));
  CO_ASSIGN_OR_RETURN(auto first, OpenDisk(image, kFirstSerial, false));
  CO_ASSIGN_OR_RETURN(auto second, OpenDisk(image + ".2", kSecondSerial, true));
  CO_ASSIGN_OR_RETURN(auto plugged, OpenDisk(image + ".3", kPluggedSerial, false));
  spec.devices = {first, second};
  spec.root_ports = kRootPorts;
  std::shared_ptr<hypervisors::Hypervisor> machine = hypervisors::MakeLibvirtHypervisor(executor);
  absl::Status status = co_await machine->Start(std::move(spec), netns->fd());
  if (status.ok()) status = co_await ProbeMachine(machine, token, second, plugged);
  absl::Status stopped = co_await machine->Stop();
  if (!status.ok()) co_return status;
  if (!stopped.ok()) co_return stopped;
  if (g_failures > 0) co_return absl::InternalError(absl::StrCat(g_failures, " checks failed"));
  co_return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s PREFIX DISK\n", argv[0]);
    return 64;
  }
  const std::string prefix = argv[1];
  const std::string image = argv[2];
  return kata::test::RunWithDirectory(
      "guest-probe", [prefix, image](std::string directory) { return Run(prefix, image, std::move(directory)); });
}
