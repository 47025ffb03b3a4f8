#pragma once
// The etcd v3 client: keys, transactions, watches, leases, over several endpoints.
//
// Loop's thread; every callback runs on the loop's thread, later, once unless said
// otherwise, and never after the client, or the watch it belongs to, has been destroyed. The client outlives its
// watches.
//
// Failing over: the endpoint that failed is left for the next, for the calls and watches
// that follow. A read goes on over the endpoints until its deadline. A write is sent
// again only when it certainly was not sent; otherwise its error is unavailable, and
// whether it took effect is unknown. A watch resumes where it was.

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "etcd/messages.h"
#include "host/error.h"
#include "host/file.h"
#include "host/loop.h"

namespace keelson::etcd {

class Transport;

struct Settings {
  // "http://10.0.0.1:2379", "https://etcd-1:2379", "10.0.0.1:2379", "unix:///run/etcd.sock"; TLS for all
  // of them or for none.
  std::vector<std::string> servers;
  host::Path ca_file, cert_file, key_file;                       // PEM; with https
  std::chrono::milliseconds deadline = std::chrono::seconds(5);  // of a call
  size_t message_bytes = 16u << 20;                              // of an answer, at most
};

// Errors: not_found when a revision has been compacted, invalid when the request is wrong,
// denied, unavailable (away, or out of time).
template <typename T>
using Done = std::move_only_function<void(host::Result<T>)>;

struct WatchHandlers {
  // The events of one revision or more, in order, never half a revision. Also without events: the
  // store is at `revision` and there is nothing to tell (as a liveness sign, seldom).
  std::function<void(int64_t revision, std::vector<Event> events)> events;
  // The history from where the watch was is gone (or the cluster is another one): list again, and
  // watch from that. The watch has ended.
  std::function<void()> compacted;
  // The watch is broken and will be resumed. Called at each failed attempt.
  std::function<void(const host::Error&)> interrupted;
  // It goes on after an interruption; what was missed follows as events.
  std::function<void()> resumed;
};

// Destroying it ends the watch.
class Watch {
 public:
  virtual ~Watch() = default;
};
// Destroying it ends the beats; the lease lives on for its time to live.
class KeepAlive {
 public:
  virtual ~KeepAlive() = default;
};

class Client {
 public:
  // Reads the certificates (blocking). invalid on settings that cannot work. A cluster that is away is no error here.
  static host::Result<std::unique_ptr<Client>> create(host::Loop& loop, const Settings& settings);
  // With a transport of one's own: `endpoints` is how many it has.
  static std::unique_ptr<Client> create(host::Loop& loop, std::unique_ptr<Transport> transport, size_t endpoints,
                                        std::chrono::milliseconds deadline);
  ~Client();

  void range(Range request, Done<RangeAnswer> done);
  void put(Put request, Done<PutAnswer> done);
  void remove(Delete request, Done<DeleteAnswer> done);
  // At most 128 operations and 1.5 MiB, by etcd's own limits.
  void txn(Txn request, Done<TxnAnswer> done);
  void compact(Compact request, Done<CompactAnswer> done);
  void grant(LeaseGrant request, Done<LeaseGrantAnswer> done);
  void revoke(LeaseRevoke request, Done<LeaseRevokeAnswer> done);

  // All keys with the prefix at one revision (0: the newest), by pages (which shrink when
  // their values are large).
  void list(std::string prefix, Done<RangeAnswer> done, int64_t revision = 0);

  // Everything under the prefix from `start_revision` on, for as long as it lives.
  std::unique_ptr<Watch> watch(std::string prefix, int64_t start_revision, WatchHandlers handlers);

  // A beat every third of the time to live. `lost` runs once, when the lease is gone, or when
  // no beat was answered for its whole time to live.
  std::unique_ptr<KeepAlive> keep_alive(int64_t lease, std::chrono::seconds ttl, std::function<void()> lost);

 private:
  struct Impl;
  explicit Client(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared with the callback under way, which may destroy us
};

// One of --etcd-servers as the transport wants it, and whether it asks for TLS.
struct Endpoint {
  std::string target;
  bool tls = false;
};
host::Result<Endpoint> parse_endpoint(std::string_view text);

}  // namespace keelson::etcd
