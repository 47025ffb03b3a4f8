#pragma once
// One etcd cluster by gRPC, without any policy: which endpoint, when again and what to
// resume is the client's business (client.h). Implemented in grpc_transport.cpp, and by a
// double in the tests.
//
// Loop's thread. Callbacks come from the loop, never inside a call that is made here, and
// never after the transport, or the stream that they belong to, has been destroyed. They may
// destroy both.

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "etcd/messages.h"
#include "host/error.h"
#include "host/loop.h"

namespace keelson::etcd {

struct TransportSettings {
  std::vector<std::string> endpoints;  // as check_endpoint() gives them: "host:port", "[::1]:2379", "unix:/path"
  bool tls = false;
  std::string ca, certificate, key;  // PEM, the content; an empty `ca` means the system's roots
  size_t message_bytes = 16u << 20;  // a longer answer is an error
};

using Request = std::variant<Range, Put, Delete, Txn, Compact, LeaseGrant, LeaseRevoke>;
// The alternative at the same place answers.
using Answer =
    std::variant<RangeAnswer, PutAnswer, DeleteAnswer, TxnAnswer, CompactAnswer, LeaseGrantAnswer, LeaseRevokeAnswer>;

struct CallError {
  host::Error error;
  bool compacted = false;   // the revision asked for is gone
  bool too_large = false;   // the answer was longer than message_bytes
  bool never_sent = false;  // the request cannot have had an effect: no connection, or a member that refused it unread
};
using CallResult = std::expected<Answer, CallError>;

struct WatchRequest {
  std::string key, range_end;
  int64_t start_revision = 0;  // 0: from now on
};
struct WatchBatch {
  uint64_t cluster_id = 0;
  int64_t revision = 0;  // of the store; everything up to it has been told (0 in a fragment that is not the last)
  bool created = false;  // the answer to the request; no events
  std::vector<Event> events;
};
// Batches, then one end.
struct WatchEnd {
  host::Error error;
  int64_t compact_revision = 0;  // not 0: the start revision is gone, and this is the oldest one there is
};
using WatchNews = std::variant<WatchBatch, WatchEnd>;

struct KeepAliveAnswer {
  int64_t ttl_seconds = 0;  // 0: there is no such lease any more
};
using KeepAliveNews = std::expected<KeepAliveAnswer, host::Error>;

// Something that goes on. Destroying it ends it, without a callback.
class Stream {
 public:
  virtual ~Stream() = default;
  // Keep-alive: sends one beat. A watch has nothing to beat.
  virtual void beat() = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual void call(size_t endpoint, Request request, std::chrono::milliseconds deadline,
                    std::move_only_function<void(CallResult)> done) = 0;
  virtual std::unique_ptr<Stream> watch(size_t endpoint, WatchRequest request, std::function<void(WatchNews)> news) = 0;
  virtual std::unique_ptr<Stream> keep_alive(size_t endpoint, int64_t lease,
                                             std::function<void(KeepAliveNews)> news) = 0;
};

// invalid when the certificates are.
host::Result<std::unique_ptr<Transport>> make_transport(host::Loop& loop, const TransportSettings& settings);

}  // namespace keelson::etcd
