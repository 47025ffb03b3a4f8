#pragma once
// The objects of one kind, their recent changes, and who is told of them. Part of the
// store; loop's thread.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/resource.h"

namespace keelson::apiserver {

// One object at one revision; never changes. Its pointers are shared by the cache, the
// history, watchers and answers on their way, so that a change costs nobody a copy.
struct Version {
  api::AnyObject object;      // with resourceVersion
  int64_t revision = 0;       // of its last change
  int64_t lease = 0;          // etcd's; of Events
  std::string json;           // whole: {"kind":"Pod","apiVersion":"v1","metadata":{…},…}
  uint32_t metadata_end = 0;  // where the metadata ends in it; 0: not known

  // As an item of a list, which has no kind and apiVersion: `{` and this.
  std::string_view item() const;
  // {"name":…}, when it is known where it ends.
  std::string_view metadata() const;
};
using VersionPtr = std::shared_ptr<const Version>;

// The node that a Pod is bound to; "" of all else.
const std::string& node_of(const VersionPtr& version);

// How much of an object's JSON stands before its metadata: {"kind":"Pod","apiVersion":"v1",
size_t type_meta_length(const api::Resource& resource);

// One past the end of the JSON object that begins at `at`; 0 when it does not end.
size_t object_end(std::string_view json, size_t at);

// The JSON of an object that etcd holds without resourceVersion, with it. `value` as
// encode_json() writes it; the uid is the object's.
std::string with_resource_version(std::string_view value, std::string_view uid, int64_t revision);
VersionPtr make_version(api::AnyObject object, std::string_view value, int64_t revision, int64_t lease);

struct Change {
  enum class Type : uint8_t { added, modified, deleted };
  Type type = Type::added;
  int64_t revision = 0;
  std::string key;      // within the kind: "namespace/name", or "name" of a kind without namespaces
  VersionPtr object;    // of a deletion: what was deleted, as previous
  VersionPtr previous;  // null of added
};
// What a watcher is told at the end: the state before the change, under the change's revision,
// so that resuming from it skips the end. Made anew at each call.
VersionPtr last_state(const Change& change);

// By Change's keys, in etcd's order.
using Objects = std::map<std::string, VersionPtr, std::less<>>;

class Observer {
 public:
  virtual ~Observer() = default;
  // Each change, in order.
  virtual void changed(const Change& change) = 0;
  // The history broke (etcd compacted what was not seen yet): the cache has been read anew,
  // and what lies between is unknown.
  virtual void reset() = 0;
};

class KindCache {
 public:
  struct Limits {
    size_t changes = 20'000;
    size_t bytes = size_t{8} << 20;  // of the JSON of what is no longer current
  };
  KindCache(const api::Resource& resource, Limits limits);

  const api::Resource& resource() const { return *resource_; }
  const std::string& prefix() const { return prefix_; }  // "/registry/pods/"
  const Objects& objects() const { return objects_; }
  VersionPtr find(std::string_view key) const;
  // Pods bound to the node; other kinds have no such index.
  const Objects* on_node(std::string_view node) const;

  // --- changes, in the order of their revisions
  void put(std::string key, VersionPtr version);
  void remove(const std::string& key, int64_t revision);
  // Everything anew, without telling what changed.
  void load(Objects objects, int64_t revision);

  // --- history
  // All changes after this revision are known.
  int64_t history_start() const { return history_start_; }
  int64_t last_change() const { return last_change_; }
  void replay(int64_t after, const std::function<void(const Change&)>& tell) const;
  // What differs from the cache at an earlier revision: the objects of then, null of what was
  // not there. The revision is not before history_start().
  Objects difference(int64_t revision) const;

  // Borrowed, until forgotten. Either may happen while a change is told.
  void observe(Observer& observer) { observers_.push_back(&observer); }
  void forget(Observer& observer);

 private:
  void record(Change change);
  void index(const std::string& key, const VersionPtr& before, const VersionPtr& after);

  const api::Resource* resource_;
  std::string prefix_;
  Limits limits_;
  Objects objects_;
  std::map<std::string, Objects, std::less<>> by_node_;
  std::deque<Change> history_;
  size_t history_bytes_ = 0;
  int64_t history_start_ = 0;
  int64_t last_change_ = 0;
  std::vector<Observer*> observers_;  // null: forgotten while a change was told
  int telling_ = 0;
};

}  // namespace keelson::apiserver
