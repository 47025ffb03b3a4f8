#pragma once
// What of a Pod the scheduler keeps: a tenth of the object. Immutable once made.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/pod.h"
#include "master/scheduler/amounts.h"

namespace keelson::scheduler {

struct HostPort {
  std::string protocol;
  std::string host_ip;  // "0.0.0.0" when the Pod takes all
  int32_t port = 0;
  auto operator<=>(const HostPort&) const = default;
};
// Two Pods cannot have both of these on one node.
bool conflict(const HostPort& a, const HostPort& b);

// Where it may go and would like to; kept while a Pod waits for its node.
struct Wishes {
  std::map<std::string, std::string> node_selector;
  api::Box<api::NodeAffinity> node_affinity;
  std::vector<api::Toleration> tolerations;
  std::vector<api::PodAffinityTerm> near;  // required
  std::vector<api::WeightedPodAffinityTerm> rather_near, rather_far;
  std::vector<api::TopologySpreadConstraint> spread;
  bool may_preempt = true;
};

struct PodInfo {
  std::string namespace_, name, uid;
  std::string node;  // "" while it waits
  std::string scheduler;
  std::map<std::string, std::string> labels;
  Amounts requests;
  ScoredUse use;
  std::vector<HostPort> host_ports;
  std::vector<api::PodAffinityTerm> far;  // required anti-affinity: it keeps others away once it runs
  Wishes wishes;                          // empty once it has a node
  int32_t priority = 0;
  int64_t created = 0;
  bool finished = false;  // Succeeded or Failed: its node is free of it
  bool deleting = false;
  bool gated = false;  // spec.schedulingGates are not all gone
  // Pods of one group are replicas of each other: the same owner, or the same labels.
  uint64_t group = 0;
  // Pods of one kind fit the same nodes at the same moment.
  uint64_t kind = 0;
  // The condition PodScheduled as it stands, so that it is written only when it changes.
  std::string condition_status, condition_reason, condition_message;
  int64_t condition_since = 0;

  std::string key() const { return namespace_ + "/" + name; }
};
using PodPtr = std::shared_ptr<const PodInfo>;  // shared by the cluster, the queue and binds under way

PodPtr info_of(const api::Pod& pod);

}  // namespace keelson::scheduler
