// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/mirrors/mirrors.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <thread>
#include <utility>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/schema/agent.ttrpc.h"
#include "virtcontainers/mirrors/volume_tree.h"

namespace kata::virtcontainers {
namespace {

constexpr const char* kKinds[] = {"configmap", "secret", "projected", "downward-api", "csi"};
// The kubelet's writer, and the one of CSI drivers that is made of it, put all files of a volume into a directory of
// their own, to which this link leads: another target is another content, all at once.
constexpr char kData[] = "..data";
constexpr uint32_t kChanges = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | IN_CLOSE_WRITE |
                              IN_ONLYDIR | IN_EXCL_UNLINK | IN_MASK_ADD;
constexpr size_t kEventsSize = 16u << 10;
// A change of a volume takes some file operations: a look that falls into it is taken again.
constexpr int kLooksMax = 20;
constexpr std::chrono::milliseconds kLookPause{10};
constexpr std::chrono::seconds kTellTimeout{30};
constexpr std::chrono::seconds kRetryPause{2};

bool IsOfKubelet(const std::string& source) {
  return std::any_of(std::begin(kKinds), std::end(kKinds), [&source](const char* kind) {
    return absl::StrContains(source, absl::StrCat("/volumes/kubernetes.io~", kind, "/"));
  });
}

std::string TextOf(const std::vector<IdMapping>& mappings) {
  std::string text;
  for (const IdMapping& mapping : mappings)
    absl::StrAppend(&text, mapping.container, ":", mapping.host, ":", mapping.size, ",");
  return text;
}

bool IsWhole(const VolumeTree& tree) {
  std::set<std::string> paths;
  std::string data;
  for (const TreeEntry& entry : tree.entries) {
    paths.insert(entry.path);
    if (entry.path == kData) data = entry.content;
  }
  return !data.empty() && paths.contains(data);
}

absl::StatusOr<VolumeTree> ReadWhole(int directory) {
  for (int look = 1;; ++look) {
    absl::StatusOr<VolumeTree> tree = ReadVolumeTree(directory);
    if (tree.ok() && IsWhole(*tree)) return tree;
    if (!tree.ok() && !absl::IsNotFound(tree.status())) return tree;
    if (look == kLooksMax) return tree.ok() ? absl::UnavailableError("it changes all the time") : tree;
    std::this_thread::sleep_for(kLookPause);
  }
}

UniqueFd OpenDirectory(const std::string& path) {
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

void Write(const TreeEntry& from, const std::vector<IdMapping>& uids, const std::vector<IdMapping>& gids,
           agent::v1::MirrorEntry& to) {
  to.set_path(from.path);
  to.set_mode(from.mode);
  to.set_uid(MappedId(uids, from.uid));
  to.set_gid(MappedId(gids, from.gid));
  to.set_mtime_ns(from.mtime_ns);
  to.set_content(from.content);
}

}  // namespace

Mirrors::Mirrors(asio::any_io_executor executor, asio::thread_pool& pool)
    : executor_(executor), pool_(pool), news_(executor) {}

std::optional<std::string> Mirrors::Add(const std::string& container_id, const std::string& source,
                                        const std::vector<IdMapping>& uids, const std::vector<IdMapping>& gids) {
  struct stat info {};
  if (!IsOfKubelet(source) || ::lstat(absl::StrCat(source, "/", kData).c_str(), &info) != 0 || !S_ISLNK(info.st_mode))
    return std::nullopt;
  absl::StatusOr<std::string> place = AddVolume(container_id, source, uids, gids);
  if (place.ok()) return *place;
  log::Warn("volume \"{}\" is shared, and programs that watch it are not told of changes: {}", source,
            place.status().message());
  return std::nullopt;
}

absl::StatusOr<std::string> Mirrors::AddVolume(const std::string& container_id, const std::string& source,
                                               const std::vector<IdMapping>& uids, const std::vector<IdMapping>& gids) {
  const UniqueFd directory = OpenDirectory(source);
  struct stat info {};
  if (!directory.valid() || ::fstat(directory.get(), &info) != 0) return ErrnoStatus(errno, "opening it");
  ASSIGN_OR_RETURN(const VolumeTree tree, ReadWhole(directory.get()));
  const Key key{info.st_dev, info.st_ino, absl::StrCat(TextOf(uids), ";", TextOf(gids))};
  const std::lock_guard<std::mutex> lock(mutex_);
  size_t bytes = tree.bytes;
  uint64_t number = 0;
  for (const auto& [other, volume] : volumes_) {
    if (volume.key == key) {
      number = other;
    } else if (!volume.containers.empty()) {
      bytes += volume.bytes;
    }
  }
  if (bytes > kMirroredBytesMax)
    return absl::ResourceExhaustedError(absl::StrCat("the pod has more than ", kMirroredBytesMax, " bytes of such"));
  if (number == 0 && volumes_.size() >= kMirrorsMax)
    return absl::ResourceExhaustedError(absl::StrCat("the pod has ", kMirrorsMax, " of such"));
  Volume made;
  made.key = key;
  Volume& volume = number == 0 ? made : volumes_[number];
  volume.source = source;
  volume.uids = uids;
  volume.gids = gids;
  volume.bytes = tree.bytes;
  RETURN_IF_ERROR(Watch(volume, directory.get()));
  volume.containers.insert(container_id);
  if (number == 0) {
    number = next_++;
    volumes_.emplace(number, std::move(made));
  }
  return absl::StrCat(kGuestMirrors, "/", number);
}

absl::Status Mirrors::Watch(Volume& volume, int directory) {
  if (volume.watch >= 0) return absl::OkStatus();
  if (!inotify_.valid()) inotify_.reset(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify_.valid()) return ErrnoStatus(errno, "watching it (sysctl fs.inotify.max_user_instances)");
  volume.watch = ::inotify_add_watch(inotify_.get(), absl::StrCat("/proc/self/fd/", directory).c_str(), kChanges);
  if (volume.watch < 0) return ErrnoStatus(errno, "watching it (sysctl fs.inotify.max_user_watches)");
  return absl::OkStatus();
}

bool Mirrors::Has(const std::string& container_id) const { return !Of(container_id).empty(); }

Mirrors::Numbers Mirrors::Of(const std::string& container_id) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  Numbers numbers;
  for (const auto& [number, volume] : volumes_) {
    if (volume.containers.contains(container_id)) numbers.insert(number);
  }
  return numbers;
}

Mirrors::Numbers Mirrors::TakeNews() {
  const std::lock_guard<std::mutex> lock(mutex_);
  Numbers changed;
  alignas(inotify_event) std::array<char, kEventsSize> events{};
  for (;;) {
    const ssize_t size = ::read(inotify_.get(), events.data(), events.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return changed;
    for (ssize_t at = 0; at < size;) {
      const auto* event = reinterpret_cast<const inotify_event*>(&events[static_cast<size_t>(at)]);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      for (auto& [number, volume] : volumes_) {
        if (volume.watch < 0) continue;
        if (volume.watch == event->wd || (event->mask & IN_Q_OVERFLOW) != 0) changed.insert(number);
        if (volume.watch == event->wd && (event->mask & IN_IGNORED) != 0) volume.watch = -1;  // its directory is gone
      }
    }
  }
}

absl::StatusOr<std::optional<agent::v1::SetMirrorRequest>> Mirrors::Read(uint64_t number) {
  Volume volume;
  agent::v1::SetMirrorRequest request;
  request.set_number(number);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    volume = volumes_[number];
    // Of two looks the later has the higher one, whichever is told first.
    request.set_version(++version_);
  }
  const UniqueFd directory = OpenDirectory(volume.source);
  struct stat info {};
  // The kubelet takes a volume away once its containers have ended.
  if (!directory.valid() || ::fstat(directory.get(), &info) != 0 || info.st_dev != volume.key.device ||
      info.st_ino != volume.key.inode) {
    return std::nullopt;
  }
  auto tree = ReadWhole(directory.get());
  if (!tree.ok()) return Annotate(tree.status(), absl::StrCat("reading volume \"", volume.source, "\""));
  for (const TreeEntry& entry : tree->entries) Write(entry, volume.uids, volume.gids, *request.add_entries());
  return request;
}

Mirrors::Requests Mirrors::ReadAll(Numbers numbers) {
  Requests requests;
  for (const uint64_t number : numbers) {
    auto request = Read(number);
    if (!request.ok()) {
      log::Warn("a changed volume stays as it was in the guest: {}", request.status().message());
    } else if (request->has_value()) {
      requests.push_back(**std::move(request));
    }
  }
  return requests;
}

Co<absl::Status> Mirrors::Tell(std::shared_ptr<ttrpc::Connection> agent, Requests requests) {
  agent::v1::AgentClient client(agent);
  for (agent::v1::SetMirrorRequest& request : requests) {
    auto response = co_await client.SetMirror(std::move(request), kTellTimeout);
    if (!response.ok()) co_return Annotate(response.status(), "giving the guest a volume");
  }
  co_return absl::OkStatus();
}

Co<absl::Status> Mirrors::Fill(std::shared_ptr<ttrpc::Connection> agent, std::string container_id) {
  auto self = shared_from_this();
  if (!Has(container_id)) co_return absl::OkStatus();
  if (!std::exchange(is_followed_, true)) {
    const int own = ::fcntl(inotify_.get(), F_DUPFD_CLOEXEC, 0);
    if (own < 0) co_return ErrnoStatus(errno, "watching volumes");
    news_.assign(own);
    Spawn(executor_, "following changes of volumes", Follow(self, agent));
  }
  std::function<absl::StatusOr<Requests>()> read = [self, container_id]() -> absl::StatusOr<Requests> {
    Requests requests;
    for (const uint64_t number : self->Of(container_id)) {
      ASSIGN_OR_RETURN(auto request, self->Read(number));
      if (!request.has_value()) return absl::NotFoundError("a volume is not there any more");
      requests.push_back(*std::move(request));
    }
    return requests;
  };
  CO_ASSIGN_OR_RETURN(Requests requests, co_await RunBlockingFor<Requests>(pool_, std::move(read)));
  co_return co_await Tell(agent, std::move(requests));
}

Co<absl::Status> Mirrors::Follow(std::shared_ptr<Mirrors> self, std::shared_ptr<ttrpc::Connection> agent) {
  Numbers untold;
  while (!self->is_over_ && !agent->is_closed()) {
    if (untold.empty()) {
      auto [ec] = co_await self->news_.async_wait(asio::posix::stream_descriptor::wait_read, kTuple);
      if (ec) break;
    } else {
      co_await Sleep(kRetryPause);
    }
    std::function<absl::StatusOr<Requests>()> read = [self, untold] {
      Numbers numbers = self->TakeNews();
      numbers.insert(untold.begin(), untold.end());
      return self->ReadAll(std::move(numbers));
    };
    auto requests = co_await RunBlockingFor<Requests>(self->pool_, std::move(read));
    if (self->is_over_ || !requests.ok()) break;
    Numbers told;
    for (const agent::v1::SetMirrorRequest& request : *requests) told.insert(request.number());
    absl::Status status = co_await self->Tell(agent, *std::move(requests));
    if (self->is_over_ || agent->is_closed()) break;
    if (!status.ok() && untold.empty()) log::Warn("{}; it is tried again", status.message());
    untold = status.ok() ? Numbers() : std::move(told);
    co_await Sleep(kMirrorPause);
  }
  co_return absl::OkStatus();
}

void Mirrors::Remove(const std::string& container_id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto& [number, volume] : volumes_) {
    if (volume.containers.erase(container_id) == 0 || !volume.containers.empty() || volume.watch < 0) continue;
    const int watch = std::exchange(volume.watch, -1);
    // One directory has one watch, whatever its owners are shown as.
    const bool is_used = std::any_of(volumes_.begin(), volumes_.end(),
                                     [watch](const auto& entry) { return entry.second.watch == watch; });
    if (!is_used) ::inotify_rm_watch(inotify_.get(), watch);
  }
}

void Mirrors::Stop() {
  is_over_ = true;
  boost::system::error_code ignored;
  news_.close(ignored);
}

}  // namespace kata::virtcontainers
