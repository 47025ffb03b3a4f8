#pragma once
// A prefix of the store, kept in memory and up to date: listed once, then watched; listed
// anew when the history it stands on was compacted. Loop's thread.

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "etcd/client.h"

namespace keelson::etcd {

class Mirror {
 public:
  using Content = std::map<std::string, KeyValue>;
  struct Handlers {
    // The content differs from before, or the store answers again, or this is the first time.
    std::function<void(const Content&)> changed;
    // The store is away; the content stands. It is tried again without end.
    std::function<void(const host::Error&)> failed;
  };

  // The client must outlive the mirror.
  Mirror(host::Loop& loop, Client& client, std::string prefix, Handlers handlers);
  ~Mirror();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with answers under way, which may come after we are gone
};

}  // namespace keelson::etcd
