#pragma once
// All objects, as etcd holds them and as readers want them: one ordered cache for each
// kind, with the history of its changes, fed by one list and one watch of /registry/.
//
// Keys: /registry/<plural>/[<namespace>/]<name>, of named groups /registry/<group>/<plural>/….
// Values: the object's JSON without resourceVersion, which is etcd's mod revision. Other keys
// under /registry/ (hosts/, ranges/) are written through commit() as well, and not cached.
//
// Loop's thread. A Version never changes; its pointers are shared by the cache, the history,
// watchers and answers on their way, so that a change costs nobody a copy.

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "api/resource.h"
#include "etcd/client.h"
#include "host/loop.h"
#include "host/metrics.h"

namespace keelson::apiserver {

// One object at one revision.
struct Version {
  api::AnyObject object;  // with resourceVersion
  int64_t revision = 0;   // of its last change
  int64_t lease = 0;      // etcd's; of Events
  std::string json;       // whole: {"kind":"Pod","apiVersion":"v1","metadata":…}
  // As an item of a list: `{` and this.
  std::string_view item() const;
};
using VersionPtr = std::shared_ptr<const Version>;

struct Change {
  enum class Type : uint8_t { added, modified, deleted };
  Type type = Type::added;
  int64_t revision = 0;
  std::string key;      // within the kind: "namespace/name" or "name"
  VersionPtr object;    // of a deletion: the last state, with the revision of its deletion
  VersionPtr previous;  // null of added
};

// The objects of one kind by key ("namespace/name", or "name" of a kind without namespaces),
// in etcd's order.
using Objects = std::map<std::string, VersionPtr, std::less<>>;

// Told of each change of its kind, in order.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void changed(const Change& change) = 0;
  // The store is at this revision: all changes up to it have been told. Once after each batch.
  virtual void reached(int64_t revision) = 0;
  // The history broke (etcd compacted away what was not seen yet): the cache has been read
  // anew, and what lies between is unknown.
  virtual void reset() = 0;
};

struct StoreOptions {
  // Only this store writes under /registry/: a read is fresh once it has seen the last write
  // that was acknowledged here. Otherwise etcd is asked (once for all readers that wait).
  bool sole_writer = true;
  size_t history_changes = 20'000;                         // per kind
  size_t history_bytes = 16u << 20;                        // per kind, of JSON
  host::Duration compact_every = std::chrono::minutes(5);  // to what was current so long ago, twice; 0: never
};

// One transaction: the operations happen all, if all compares hold, or none.
struct Commit {
  std::vector<etcd::Compare> compares;
  std::vector<etcd::Operation> operations;
};
struct Committed {
  bool succeeded = false;
  int64_t revision = 0;
};

class Store {
 public:
  struct Impl;
  // The client is borrowed and must outlive the store. Begins to list at once; ready() when done.
  static std::unique_ptr<Store> create(host::Loop& loop, etcd::Client& client, host::Metrics& metrics,
                                       StoreOptions options);
  ~Store();

  bool ready() const;
  // Called once, when the first list is in (at once when it is).
  void when_ready(std::function<void()> callback);
  // The watch is up: what is cached is what etcd holds. False while etcd is away.
  bool connected() const;

  // --- reading

  int64_t revision() const;  // everything up to here has been seen
  const Objects& objects(const api::Resource& resource) const;
  VersionPtr find(const api::Resource& resource, std::string_view namespace_, std::string_view name) const;
  // Pods by spec.nodeName, the rest of whom need no index.
  std::vector<VersionPtr> pods_on(std::string_view node) const;

  using Ready = std::move_only_function<void(host::Status)>;
  // When the cache holds everything that was acknowledged before this call. At once (from
  // within the call) when it does already. Unavailable when etcd is away for too long.
  void barrier(Ready ready);
  // When it has reached the revision; unavailable after `patience`.
  void reach(int64_t revision, host::Duration patience, Ready ready);

  // --- history

  // The oldest revision after which all changes of the kind are known.
  int64_t history_start(const api::Resource& resource) const;
  // Calls `tell` with each change after the revision, which must not be before history_start().
  void replay(const api::Resource& resource, int64_t after, const std::function<void(const Change&)>& tell) const;
  // Until it is told of no more: both are borrowed.
  void observe(const api::Resource& resource, Observer& observer);
  void forget(const api::Resource& resource, Observer& observer);
  // The objects as they were at a revision that etcd still holds; not_found when it was compacted.
  using Snapshot = std::vector<std::pair<std::string, VersionPtr>>;
  void objects_at(const api::Resource& resource, std::string from_key, std::string prefix, int64_t revision,
                  int64_t limit, std::move_only_function<void(host::Result<Snapshot>)> done);

  // --- writing

  std::string key_of(const api::Resource& resource, std::string_view namespace_, std::string_view name) const;
  // The value that etcd is to hold, and what its Version will be made of once the watch tells
  // of it: sparing the way through JSON back to an object.
  std::string value_of(const api::AnyObject& object);
  // Not succeeded: a compare failed; reach(revision) and look again. Unavailable: whether it
  // happened is unknown. `prepared` are objects whose values are among the operations.
  void commit(Commit commit, std::move_only_function<void(host::Result<Committed>)> done);
  // A lease that ends in `ttl` or up to a minute later, shared by all who ask in that minute.
  void lease(std::chrono::seconds ttl, std::move_only_function<void(host::Result<int64_t>)> done);

 private:
  explicit Store(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared with answers under way, which may come after we are gone
};

}  // namespace keelson::apiserver
