#pragma once
// Whether a Pod may go to a node, and if not, why, in Kubernetes' words; and how well a
// node would suit it. Pure functions of the Pod and the node; what depends on other Pods
// is in neighbours.h.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "master/scheduler/cluster.h"

namespace keelson::scheduler {

struct Refusal {
  std::vector<std::string> reasons;
  // Fewer Pods on the node would help.
  bool crowded = false;
};

// The first thing that speaks against it, in the order of Kubernetes' filters.
std::optional<Refusal> refusal(const PodInfo& pod, const NodeInfo& node);

// nodeSelector and required node affinity alone.
bool selects(const PodInfo& pod, const NodeInfo& node);
// The first taint of NoSchedule or NoExecute that it does not tolerate; null when there is none.
const api::Taint* untolerated(const PodInfo& pod, const NodeInfo& node);
bool tolerates(const std::vector<api::Toleration>& tolerations, const api::Taint& taint);

// Raw scores; placement.cpp weighs them against those of the other nodes.
struct Score {
  int64_t room = 0;      // 0..100: how much is left of cpu and memory
  int64_t balance = 0;   // 0..100: cpu and memory are used alike
  int64_t affinity = 0;  // weights of the preferred terms that match
  int64_t dislikes = 0;  // PreferNoSchedule taints that it does not tolerate
  int64_t replicas = 0;  // of its own group on the node
};
Score score(const PodInfo& pod, const NodeInfo& node);

}  // namespace keelson::scheduler
