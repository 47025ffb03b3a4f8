#pragma once
// All objects of one kind that a selector chooses, kept in memory and up to date: listed
// in pages, then watched from the list's version on (bookmarks asked for). A watch that
// ends goes on where it stopped; one whose history is gone (410) is listed anew, and the
// difference is told. Loop's thread only.
//
// While the server is away the set stands as it is, and it is tried again without end, with
// a jittered backoff. Nothing is told before the first list is complete: then synced() with
// the whole set, once; from then on changed() and deleted(), each object in the order of its
// versions. So a delete is never told of an object that was not, and never because of an
// incomplete list. A server that has forgotten (an older version than ours: etcd restored)
// is believed, as is one that shows the same name with another uid: deleted(), then changed().

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "api/resource.h"
#include "apiclient/client.h"

namespace keelson::apiclient {

struct ReflectorOptions {
  std::string namespace_;  // empty: all
  std::string label_selector, field_selector;
  int page = 500;
  // Takes off what nobody here will ask for, before an object is kept and told: of ten thousand
  // Pods most of the memory. Names, uid and version have to stay.
  std::function<void(api::AnyObject&)> trim;
  // The server ends a watch after it, to begin again; the same watch is given up as dead
  // when it has been silent past its end for `patience`. Each is lengthened by up to its
  // half, at random, so that not everybody comes back at once.
  host::Duration watch_time = std::chrono::minutes(5);
  host::Duration patience = std::chrono::seconds(10);
  // No word from the server, not even a bookmark (one a minute), for so long: the
  // connection is dead. Zero: no such limit, for servers that send no bookmarks.
  host::Duration silence = std::chrono::minutes(3);
  std::chrono::milliseconds first_retry{50};
  std::chrono::milliseconds most_retry{5000};
};

using ObjectPtr = std::shared_ptr<const api::AnyObject>;  // shared: whoever is told may keep it
// By "namespace/name"; of cluster-wide kinds by "name".
using ObjectSet = std::map<std::string, ObjectPtr, std::less<>>;

// All may destroy the reflector. An empty function is skipped.
struct AnyReflectorHandlers {
  std::function<void(const ObjectSet&)> synced;
  std::function<void(const ObjectPtr& old, const ObjectPtr& now)> changed;  // old: null when it is new
  std::function<void(const ObjectPtr& old)> deleted;  // as it was last seen (the server's last word on it)
  // The server is away or refuses; once for each attempt. The set stands.
  std::function<void(const Failure&)> failed;
};

class AnyReflector {
 public:
  // Begins at once; handlers run later. The client must outlive it.
  AnyReflector(Client& client, const api::Resource& resource, ReflectorOptions options, AnyReflectorHandlers handlers);
  ~AnyReflector();

  bool synced() const;
  const ObjectSet& objects() const;  // empty until synced
  ObjectPtr find(std::string_view namespace_, std::string_view name) const;
  // The version up to which everything has been told; empty until synced.
  const std::string& version() const;
  // A watch is open, or none was needed since the last list.
  bool connected() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with callbacks under way
};

std::string object_key(const api::ObjectMeta& metadata);

// The same for one kind, by its struct.
template <typename T>
class Reflector {
 public:
  using Ptr = std::shared_ptr<const T>;  // shared: whoever is told may keep it
  struct Handlers {
    std::function<void()> synced;
    std::function<void(const Ptr& old, const Ptr& now)> changed;  // old: null when it is new
    std::function<void(const Ptr& old)> deleted;
    std::function<void(const Failure&)> failed;
  };

  Reflector(Client& client, ReflectorOptions options, Handlers handlers)
      : any_(client, api::resource_of<T>(), std::move(options), erase(std::move(handlers))) {}

  bool synced() const { return any_.synced(); }
  bool connected() const { return any_.connected(); }
  const std::string& version() const { return any_.version(); }
  size_t size() const { return any_.objects().size(); }
  Ptr find(std::string_view namespace_, std::string_view name) const { return typed(any_.find(namespace_, name)); }
  // visit(const Ptr&) for each, by namespace and name.
  template <typename Visit>
  void each(Visit visit) const {
    for (const auto& [key, object] : any_.objects()) visit(typed(object));
  }

 private:
  static Ptr typed(const ObjectPtr& object) { return object ? Ptr(object, object->template get_if<T>()) : nullptr; }
  static AnyReflectorHandlers erase(Handlers handlers) {
    AnyReflectorHandlers any;
    if (handlers.synced) any.synced = [told = std::move(handlers.synced)](const ObjectSet&) { told(); };
    if (handlers.changed) {
      any.changed = [told = std::move(handlers.changed)](const ObjectPtr& old, const ObjectPtr& now) {
        told(typed(old), typed(now));
      };
    }
    if (handlers.deleted) {
      any.deleted = [told = std::move(handlers.deleted)](const ObjectPtr& old) { told(typed(old)); };
    }
    any.failed = std::move(handlers.failed);
    return any;
  }

  AnyReflector any_;
};

}  // namespace keelson::apiclient
