#pragma once
// The ConfigMaps and Secrets that this node's Pods name, and no others: each is watched by
// itself; of very many the rest is asked for now and then instead, for a watch holds a
// connection. Loop's thread.

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "agent/cluster/references.h"
#include "apiclient/reflector.h"

namespace keelson::cluster {

class ConfigObjects {
 public:
  using Text = std::shared_ptr<const std::string>;  // shared with the documents made of it

  // `changed` runs later, when a text or settled() differs. The client must outlive it.
  ConfigObjects(apiclient::Client& client, std::function<void()> changed)
      : client_(client), changed_(std::move(changed)) {}

  void want(const std::set<ConfigRef>& references);

  // As manifests; of what does not exist there is none.
  std::map<ConfigRef, Text> texts() const;
  // The API has said whether it exists, or has refused to.
  bool settled(const ConfigRef& reference) const;

 private:
  struct Entry {
    std::unique_ptr<apiclient::AnyReflector> watch;  // or else it is asked for
    apiclient::Call call;
    host::Timer timer;
    bool settled = false;
    Text text;
  };
  void watch(const ConfigRef& reference, Entry& entry);
  void ask(const ConfigRef& reference);
  void take(const ConfigRef& reference, const api::AnyObject* object);

  apiclient::Client& client_;
  std::function<void()> changed_;
  std::map<ConfigRef, Entry> entries_;
  size_t watched_ = 0;
};

}  // namespace keelson::cluster
