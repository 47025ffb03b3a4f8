#pragma once
// Which nodes have been silent for too long, what conditions and taints a node should
// have, and whether so many are silent that it is rather us who cannot hear. Pure: times
// are handed in, and only our own clock counts (a node's may be wrong).

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/lease.h"
#include "api/node.h"
#include "host/loop.h"

namespace keelson::controllers {

inline constexpr const char* kNotReadyTaint = "node.kubernetes.io/not-ready";
inline constexpr const char* kUnreachableTaint = "node.kubernetes.io/unreachable";

// "True", "False", "Unknown"; "" when the node has never said.
std::string ready_status(const api::Node& node);

class Heartbeats {
 public:
  explicit Heartbeats(host::Duration grace) : grace_(grace) {}

  // A node or its Lease as seen now: one that says something new is alive. A node that is
  // seen for the first time has its grace from now on.
  void saw(const api::Node& node, host::TimePoint now);
  void saw(const api::Lease& lease, host::TimePoint now);
  void forget(const std::string& node) { known_.erase(node); }

  // We were not able to hear: everybody has the grace once more.
  void restart(host::TimePoint now);

  // Silent for longer than the grace.
  std::vector<std::string> overdue(host::TimePoint now) const;
  bool is_overdue(const std::string& node, host::TimePoint now) const;
  // When the next will be, of those that are not yet.
  std::optional<host::TimePoint> next(host::TimePoint now) const;

 private:
  struct Known {
    host::TimePoint heard;
    int64_t renewed = 0;    // of the Lease
    int64_t heartbeat = 0;  // of the condition Ready
    std::string ready;
    bool is_node = false;  // or only a Lease of that name
  };
  host::Duration grace_;
  std::map<std::string, Known> known_;
};

// The conditions of a node that was silent: Ready and the pressures are Unknown, since `now`
// where they were not before. Nothing: they say so already.
std::optional<std::vector<api::NodeCondition>> silenced(const api::Node& node, int64_t now);

// How widely nodes fail (Kubernetes' zone states, with its thresholds): when none is
// ready, or more than two and 55 of a hundred are not, nobody's Pods are evicted.
bool is_disrupted(size_t ready, size_t not_ready);

// The taints that conditions and spec.unschedulable ask for, beside those that are not
// ours. `evict`: NoExecute as well. Times of taints that stay are kept.
std::vector<api::Taint> taints_for(const api::Node& node, bool evict, int64_t now);

}  // namespace keelson::controllers
