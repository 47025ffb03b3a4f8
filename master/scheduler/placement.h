#pragma once
// Which node a Pod goes to, or why to none.

#include <cstddef>
#include <string>

#include "master/scheduler/cluster.h"

namespace keelson::scheduler {

struct Placement {
  std::string node;  // "" when none will do
  // Then: "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated
  // taint {key: value}. preemption: …", as Kubernetes 1.27 and later write it.
  std::string why;
};

// `start` is where the last one left off: of a large cluster not every node is looked at
// for every Pod (Kubernetes' percentageOfNodesToScore), and of equals the next one wins.
Placement place(const Cluster& cluster, const PodInfo& pod, size_t& start);

}  // namespace keelson::scheduler
