#pragma once
// What a Pod's place has to do with the other Pods: affinity, anti-affinity, topology
// spread constraints. The cluster is gone through once for a Pod that has such wishes;
// for one that has none, only the Pods that keep others away are.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "master/scheduler/fit.h"

namespace keelson::scheduler {

class Neighbours {
 public:
  // The Pod and the cluster must outlive it, and not change.
  Neighbours(const Cluster& cluster, const PodInfo& pod);

  // Behind fit.h's own, in the order of Kubernetes' filters.
  std::optional<Refusal> refusal(const NodeInfo& node) const;
  // The weights of the preferred terms, and what ScheduleAnyway would rather have; the higher the better.
  int64_t score(const NodeInfo& node) const;

 private:
  // How many Pods that match are in each domain, by the value of the topology's label.
  using Counts = std::map<std::string, int64_t, std::less<>>;
  struct Spread {
    const api::TopologySpreadConstraint* constraint = nullptr;
    Counts counts;        // of every domain that the Pod might go to
    int64_t minimum = 0;  // of these
    bool self = false;    // the Pod would be counted itself
  };

  void count_terms();
  void count_spread();
  bool matches(const api::PodAffinityTerm& term, const PodInfo& other) const;

  const Cluster& cluster_;
  const PodInfo& pod_;
  std::vector<Counts> near_;
  std::vector<Counts> far_;
  bool nobody_near_ = true;  // no Pod of the cluster matches all the terms
  bool near_itself_ = false;
  std::set<std::pair<std::string, std::string>> kept_away_;  // label of a domain that some Pod keeps it out of
  std::vector<Counts> rather_near_, rather_far_;
  std::vector<Spread> spread_;
};

}  // namespace keelson::scheduler
