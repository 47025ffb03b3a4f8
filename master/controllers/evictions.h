#pragma once
// When which Pod has to leave its node because of a NoExecute taint. Pure.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/node.h"
#include "api/pod.h"

namespace keelson::controllers {

struct EvictionPolicy {
  // Not before this (seconds since the epoch), for not-ready and unreachable: a node may
  // have come back while no controller was there to see it.
  int64_t not_before = 0;
  // Stands for the 300 s that admission gives to Pods without a toleration of their own.
  std::optional<int64_t> default_seconds;
};

// When the Pod is to be deleted; nothing: not because of these taints. In seconds since
// the epoch. What it tolerates for a while, it tolerates from when the taint was there and
// the Pod as well; a taint without a time counts from `now`.
std::optional<int64_t> eviction_time(const api::Pod& pod, const std::vector<api::Taint>& taints,
                                     const EvictionPolicy& policy, int64_t now);

// Pods by their time.
class Evictions {
 public:
  // "namespace/name"; nothing: it stays.
  void set(const std::string& pod, std::optional<int64_t> when);
  // Those whose time has come; they are taken off.
  std::vector<std::string> take_due(int64_t now);
  std::optional<int64_t> next() const;

 private:
  std::map<std::string, int64_t> times_;
  std::set<std::pair<int64_t, std::string>> order_;
};

}  // namespace keelson::controllers
