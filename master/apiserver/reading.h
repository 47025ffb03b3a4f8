#pragma once
// get and list. Loop's thread.

#include <functional>
#include <vector>

#include "master/apiserver/call.h"
#include "master/apiserver/list_options.h"
#include "master/apiserver/store.h"

namespace keelson::apiserver {

class Reading {
 public:
  // Borrowed; the store outlives what waits for it.
  explicit Reading(Store& store) : store_(store) {}

  void get(CallPtr call);
  void list(CallPtr call);
  // `then` once the cache is as new as the resourceVersion asks for; else the call is failed.
  void when_new_enough(CallPtr call, std::optional<int64_t> resource_version, std::function<void(CallPtr)> then);
  // What matches in the cache now.
  std::vector<VersionPtr> select(const api::Resource& resource, const Selection& selection) const;

 private:
  struct Page;
  void list_at(const CallPtr& call, std::shared_ptr<Page> page, int64_t revision);
  void list_from_etcd(const CallPtr& call, std::shared_ptr<Page> page, int64_t revision);

  Store& store_;
};

}  // namespace keelson::apiserver
