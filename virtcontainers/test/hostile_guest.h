// SPDX-License-Identifier: Apache-2.0
// An agent that lies, floods and stalls: a thread that speaks ttrpc byte by byte at its end of the channel, so that no
// well-behaved code of ours is in the way. Answers honestly until told otherwise.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <string>
#include <thread>

#include "proto/base/fd.h"
#include "proto/schema/agent.pb.h"
#include "proto/schema/ttrpc.pb.h"
#include "proto/ttrpc/frame.h"
#include "virtcontainers/agent_client/channel.h"

namespace kata::virtcontainers {

class HostileGuest {
 public:
  // What it does when it is asked for statistics; all else it answers.
  enum class Lie {
    kNone,
    kMillionsOfElements,  // a frame as long as ttrpc allows, of elements of two bytes
    kElementsThatFit,     // as many as a frame from a guest may have
    kMillionsOfDetails,   // an error with them
    kLongNames,
    kTerminalSequences,
    kHugeFrames,   // far more than any frame may have, then the answer
    kSmallFrames,  // of no call, some hundred megabytes of them, then the answer
    kRequests,     // for the host, without end
    kData,         // on the stream that the host has opened, without end
    kStall,        // takes nothing and says nothing any more
  };

  explicit HostileGuest(UniqueFd socket) : socket_(std::move(socket)), thread_([this] { Run(); }) {}
  ~HostileGuest() {
    is_over_ = true;
    ::shutdown(socket_.get(), SHUT_RDWR);
    thread_.join();
  }
  HostileGuest(const HostileGuest&) = delete;
  HostileGuest& operator=(const HostileGuest&) = delete;

  std::atomic<Lie> lie = Lie::kNone;

 private:
  static constexpr size_t kPiece = 1u << 20;
  static constexpr int kPieces = 200;

  // Blocking; false when the host has hung up.
  bool Write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  bool WriteFrame(uint32_t id, uint8_t type, std::string_view data) {
    char header[ttrpc::kFrameHeaderSize];
    ttrpc::WriteFrameHeader(header, data.size(), id, type, 0);
    return Write({header, sizeof(header)}) && Write(data);
  }
  bool Answer(uint32_t id, const std::string& payload) {
    ::ttrpc::Response response;
    response.set_payload(payload);
    return WriteFrame(id, ttrpc::kTypeResponse, response.SerializeAsString());
  }
  // Field 2, of length 0, again and again: `interfaces` of the statistics.
  static std::string Elements(size_t count) {
    std::string out;
    out.reserve(2 * count);
    for (size_t i = 0; i < count; ++i) out.append("\x12\0", 2);
    return out;
  }

  void Run() {
    ttrpc::FrameParser parser;
    for (;;) {
      auto frame = parser.Next();
      if (frame) {
        if (!Handle(*frame)) return;
        continue;
      }
      const std::span<char> space = parser.Space();
      const ssize_t n = ::read(socket_.get(), space.data(), space.size());
      if (n <= 0) return;
      parser.Commit(static_cast<size_t>(n));
    }
  }

  bool Handle(const ttrpc::Frame& frame) {
    ::ttrpc::Request request;
    if (frame.type != ttrpc::kTypeRequest || !request.ParseFromString(frame.data)) return true;
    const std::string& method = request.method();
    if (lie == Lie::kStall) return Stall();
    if (method == "WaitProcess" || method == "WaitOom") return true;
    if (method == "Stdio") {
      stdio_ = frame.stream_id;
      return true;
    }
    if (method == "StatsContainer") return Lies(frame.stream_id);
    if (method != "Hello") return Answer(frame.stream_id, "");
    agent::v1::HelloResponse hello;
    hello.set_version(kAgentProtocolVersion);
    return Answer(frame.stream_id, hello.SerializeAsString());
  }

  bool Stall() {
    while (!is_over_) ::usleep(10'000);
    return false;
  }

  bool Flood(std::string_view piece) {
    for (int i = 0; i < kPieces; ++i) {
      if (!Write(piece)) return false;
    }
    return true;
  }

  bool Lies(uint32_t id) {
    agent::v1::StatsContainerResponse stats;
    stats.mutable_metrics()->mutable_pids()->set_current(3);
    stats.add_interfaces()->set_name("eth0");
    switch (lie) {
      case Lie::kMillionsOfElements:
        return Answer(id, Elements((ttrpc::kFrameDataMax - 16) / 2));
      case Lie::kElementsThatFit:
        return Answer(id, Elements((kAgentFrameMax - 16) / 2));
      case Lie::kMillionsOfDetails: {
        // Status, which is field 1 of the answer, with its field 3 again and again: its length is a varint of four
        // bytes.
        constexpr size_t kDetails = ttrpc::kFrameDataMax / 2 - 16;
        std::string answer("\x0a");
        for (size_t rest = 2 * kDetails; rest > 0; rest >>= 7)
          answer += static_cast<char>((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
        for (size_t i = 0; i < kDetails; ++i) answer.append("\x1a\0", 2);
        return WriteFrame(id, ttrpc::kTypeResponse, answer);
      }
      case Lie::kLongNames:
        stats.mutable_interfaces(0)->set_name(std::string(60'000, 'n'));
        break;
      case Lie::kTerminalSequences:
        stats.mutable_interfaces(0)->set_name("e\x1b[2J");
        break;
      case Lie::kHugeFrames: {
        const std::string piece(kPiece, 'h');
        char header[ttrpc::kFrameHeaderSize];
        ttrpc::WriteFrameHeader(header, kPieces * kPiece, id + 1000, ttrpc::kTypeResponse, 0);
        if (!Write({header, sizeof(header)}) || !Flood(piece)) return false;
        break;
      }
      case Lie::kSmallFrames: {
        std::string piece;
        for (uint32_t i = 1; piece.size() < kPiece; i += 2) {
          piece += ttrpc::EncodeFrame(1'000'001 + i, ttrpc::kTypeData, 0, "x");
          piece += ttrpc::EncodeFrame(1'000'001 + i, ttrpc::kTypeResponse, 0, "x");
          piece += ttrpc::EncodeFrame(i, 77, 0xff, "x");
        }
        for (int i = 0; i < kPieces / 8; ++i) {
          if (!Write(piece)) return false;
        }
        break;
      }
      case Lie::kRequests: {
        ::ttrpc::Request request;
        request.set_service("kata.agent.v1.Agent");
        request.set_method("Hello");
        for (int i = 0; i < 20'000; ++i) request.add_metadata();
        for (uint32_t number = 1;; number += 2) {
          if (!WriteFrame(number, ttrpc::kTypeRequest, request.SerializeAsString())) return false;
        }
      }
      case Lie::kData: {
        std::string piece;
        while (piece.size() < kPiece) piece += ttrpc::EncodeFrame(stdio_, ttrpc::kTypeData, 0, "");
        for (int i = 0; i < kPieces / 8; ++i) {
          if (!Write(piece)) return false;
        }
        break;
      }
      case Lie::kStall:
        return Stall();
      case Lie::kNone:
        break;
    }
    return Answer(id, stats.SerializeAsString());
  }

  UniqueFd socket_;
  std::atomic<bool> is_over_ = false;
  uint32_t stdio_ = 0;
  std::thread thread_;
};

}  // namespace kata::virtcontainers
