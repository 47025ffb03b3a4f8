#pragma once
// The ConfigMaps and Secrets under /registry/hosts/<node>/: those that the node's Pods name,
// so that an agent which may read nothing but that prefix finds all it needs. (The Pods
// themselves are written by their own transactions: host_copies.h.)
//
// Follows the store, and makes good at start what is missing or left over. Loop's thread.

#include <memory>

#include "master/apiserver/store.h"

namespace keelson::apiserver {

class HostContents {
 public:
  struct Impl;
  // Borrowed; it must outlive this.
  explicit HostContents(Store& store);
  ~HostContents();

 private:
  std::shared_ptr<Impl> impl_;  // shared with writes under way, which may end after we are gone
};

}  // namespace keelson::apiserver
