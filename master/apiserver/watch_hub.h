#pragma once
// All watches of one kind: each change goes to those whose selection it touches, encoded
// once for all who see it the same way.
//
// Loop's thread. A watcher that falls behind by more than the limit is told so (410) and let
// go: nothing is kept for it.

#include <chrono>
#include <deque>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "host/loop.h"
#include "http/server.h"
#include "master/apiserver/list_options.h"
#include "master/apiserver/store.h"
#include "master/apiserver/view.h"

namespace keelson::apiserver {

struct WatchLimits {
  size_t queue_bytes = size_t{1} << 20;  // that a watcher may be behind
  host::Duration bookmark_every = std::chrono::minutes(1);
};

class WatchHub : public Observer {
 public:
  // Store and resource are borrowed.
  WatchHub(host::Loop& loop, Store& store, const api::Resource& resource, WatchLimits limits);
  ~WatchHub() override;

  // What the watcher is to be told first: objects as ADDED (`initial`), then the history after
  // `after`, then what happens. The stream has begun.
  void add(const ListOptions& options, const View& view, std::vector<VersionPtr> initial, int64_t after,
           http::Stream stream);
  size_t watchers() const { return watchers_.size(); }

  void changed(const Change& change) override;
  void reset() override;

 private:
  struct Watcher;
  struct Encodings;
  using Place = std::list<Watcher>::iterator;

  void deliver(Watcher& watcher, const Change& change, Encodings& encodings);
  void send(Watcher& watcher, std::shared_ptr<const std::string> event);
  void pump(Watcher& watcher);
  void tick(Watcher& watcher);
  void arm(Watcher& watcher);
  void end(Watcher& watcher, const api::Status& why);
  void drop(Watcher& watcher);
  void sweep();

  host::Loop& loop_;
  Store& store_;
  const api::Resource& resource_;
  const WatchLimits limits_;
  std::list<Watcher> watchers_;
  // Who watches one object or one node's Pods is found by that, everybody else is asked.
  std::unordered_map<std::string, std::vector<Watcher*>> by_key_, by_node_;
  std::vector<Watcher*> rest_;
  bool dispatching_ = false;
  bool dead_ = false;  // some watcher is
};

}  // namespace keelson::apiserver
