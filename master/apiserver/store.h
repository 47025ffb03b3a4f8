#pragma once
// All objects, as etcd holds them and as readers want them: a cache for each kind, fed by
// one list and one watch of /registry/, and transactions.
//
// Keys: /registry/<plural>/[<namespace>/]<name>, of named groups /registry/<group>/<plural>/….
// Values: the object's JSON without resourceVersion, which is etcd's mod revision. Other keys
// under /registry/ (hosts/, ranges/, masterleases/) are written through commit() as well; of ranges/
// and masterleases/, and of the ConfigMaps and Secrets beneath hosts/, it is known which exist.
//
// Loop's thread. Callbacks come once, perhaps within the call, and never after the store has
// been destroyed.

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/resource.h"
#include "etcd/client.h"
#include "host/loop.h"
#include "host/metrics.h"
#include "master/apiserver/kind_cache.h"

namespace keelson::apiserver {

inline constexpr std::string_view kRoot = "/registry/";
inline constexpr std::string_view kRanges = "/registry/ranges/";
inline constexpr std::string_view kHosts = "/registry/hosts/";
inline constexpr std::string_view kServers = "/registry/masterleases/";  // Kubernetes' name for it

struct StoreOptions {
  // Only this store writes under /registry/: a read is fresh once it has seen the last write
  // that was acknowledged here. Otherwise, and when the fate of a write is unknown, etcd is asked
  // (once for all readers that wait).
  bool sole_writer = true;
  KindCache::Limits history;
  // So many of the last revisions are read as changes at start, so that watches which a
  // restart broke off can go on where they were.
  int64_t replay = 500;
  // What was current two such periods ago is compacted. 0: never.
  host::Duration compact_every = std::chrono::minutes(5);
  host::Duration patience = std::chrono::seconds(10);  // of a barrier while etcd is away
};

// An object on its way into etcd: what the watch will tell of it need not be parsed.
struct Prepared {
  std::string key;        // etcd's
  std::string value;      // JSON without resourceVersion
  api::AnyObject object;  // moved into the version
  int64_t lease = 0;
  VersionPtr version;  // once its revision is known
};

// One transaction: the puts and operations happen all, if all compares hold, or none.
struct Commit {
  std::vector<etcd::Compare> compares;
  std::shared_ptr<Prepared> object;         // may be null; shared with the cache, which awaits it
  std::vector<etcd::Operation> operations;  // further ones
};
struct Committed {
  bool succeeded = false;  // false: a compare failed; reach(revision) and look again
  int64_t revision = 0;
};

class Store {
 public:
  struct Impl;
  // Client and metrics are borrowed and must outlive the store. Begins to list at once.
  static std::unique_ptr<Store> create(host::Loop& loop, etcd::Client& client, host::Metrics& metrics,
                                       StoreOptions options);
  ~Store();

  bool ready() const;  // the first list is in
  void when_ready(std::function<void()> callback);
  bool connected() const;  // the watch is up

  // --- reading

  int64_t revision() const;   // everything up to here has been seen
  int64_t compacted() const;  // what is older is gone
  const KindCache& kind(const api::Resource& resource) const;
  KindCache& kind(const api::Resource& resource);
  VersionPtr find(const api::Resource& resource, std::string_view namespace_, std::string_view name) const;
  template <typename T>
  VersionPtr find(std::string_view namespace_, std::string_view name) const {
    return find(api::resource_of<T>(), namespace_, name);
  }
  // Keys under /registry/ranges/.
  const std::set<std::string, std::less<>>& ranges() const;
  // Keys under /registry/masterleases/.
  const std::set<std::string, std::less<>>& servers() const;
  // Keys /registry/hosts/<node>/configmaps/… and …/secrets/…, with the revision of their last write.
  const std::map<std::string, int64_t, std::less<>>& copies() const;

  // Nothing that was acknowledged is missing from the cache, for all that can be known at once.
  bool fresh() const;
  using Ready = std::move_only_function<void(host::Status)>;
  // When the cache holds everything that was acknowledged before this call, and what of the writes
  // that ended "unavailable" has happened. Unavailable when etcd is away for too long.
  void barrier(Ready ready);
  // When everything up to the revision has been seen; unavailable after `patience`.
  void reach(int64_t revision, host::Duration patience, Ready ready);

  // Objects of the kind as they were at a revision that is older than the cache's history, in
  // order from that key on, at most `limit`; not_found when etcd has compacted it.
  using Snapshot = std::vector<std::pair<std::string, VersionPtr>>;
  void objects_at(const api::Resource& resource, std::string_view from_key, int64_t revision, int64_t limit,
                  std::move_only_function<void(host::Result<Snapshot>)> done);

  // --- writing

  std::string key_of(const api::Resource& resource, std::string_view namespace_, std::string_view name) const;
  // Unavailable: whether it happened is unknown.
  void commit(Commit commit, std::move_only_function<void(host::Result<Committed>)> done);
  // An etcd lease that ends `ttl` from now, or later by as much again but a minute at most: it is
  // shared by who asks in that time.
  void lease(std::chrono::seconds ttl, std::move_only_function<void(host::Result<int64_t>)> done);

 private:
  explicit Store(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared with answers under way, which may come after we are gone
};

// "namespace/name", or "name".
std::string object_key(const api::Resource& resource, std::string_view namespace_, std::string_view name);

}  // namespace keelson::apiserver
