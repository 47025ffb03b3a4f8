#pragma once
// A Node's conditions, in kubelet's reasons and words (pkg/kubelet/nodestatus). Pure.

#include <string>
#include <vector>

#include "agent/node/facts.h"
#include "api/node.h"

namespace keelson::node {

// Below these a node is under pressure: kubelet's default hard eviction thresholds, and for
// PIDs, of which it has none by default, a twentieth.
inline constexpr int64_t kMemoryNeeded = int64_t{100} << 20;
inline constexpr int kDiskPercentNeeded = 10, kInodePercentNeeded = 5, kPidPercentNeeded = 5;

struct Wellbeing {
  Pressure pressure;
  std::vector<std::string> not_ready;  // why no Pod should be sent here; empty: it is ready
  std::string no_network;              // why Pods have no network yet; empty: they have
};

// NetworkUnavailable, MemoryPressure, DiskPressure, PIDPressure, Ready. A condition that
// has the status it had in `before` keeps its lastTransitionTime.
std::vector<api::NodeCondition> make_conditions(const Wellbeing& wellbeing,
                                                const std::vector<api::NodeCondition>& before, api::Time now);

}  // namespace keelson::node
