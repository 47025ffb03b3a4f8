#pragma once
// The nodes, and who is on them: what the API server tells, and the Pods that were
// just given a node and whose binding is still under way ("assumed").
//
// Pure; the loop's thread. Each call costs in proportion to what it changes.

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "api/node.h"
#include "master/scheduler/pod_info.h"

namespace keelson::scheduler {

struct NodeInfo {
  std::string name;
  bool known = false;  // false: Pods name it, but there is no such Node
  bool unschedulable = false;
  std::map<std::string, std::string> labels;
  // Its own, and those that its conditions mean: a Node that is not Ready counts as
  // tainted so, whether or not the node lifecycle controller has come round to it.
  std::vector<api::Taint> taints;
  Amounts allocatable;
  int64_t pods_allowed = 0;

  std::map<std::string, PodPtr> pods;  // by key; none that has finished
  Amounts requested;
  ScoredUse use;
  std::map<HostPort, int> host_ports;
  std::unordered_map<uint64_t, int> groups;  // how many replicas of each group

  void add(const PodPtr& pod);
  void remove(const PodPtr& pod);
};

class Cluster {
 public:
  void set_node(const api::Node& node);
  void remove_node(const std::string& name);
  void set_namespace(const std::string& name, std::map<std::string, std::string> labels);
  void remove_namespace(const std::string& name);

  // As the API server has it. A Pod that was assumed stays so until it is seen with a
  // node, has finished, or is gone.
  void set_pod(PodPtr pod);
  void remove_pod(const std::string& key, const std::string& uid);

  // It counts as being on that node from now on; until forget(), if it comes to nothing.
  void assume(const PodPtr& pod, const std::string& node);
  void forget(const PodPtr& pod);
  bool is_assumed(const PodPtr& pod) const;

  // Nodes that exist, in an order that only changes with them.
  const std::vector<const NodeInfo*>& nodes() const { return listed_; }
  const NodeInfo* node(const std::string& name) const;
  // Those with required anti-affinity, on whichever node.
  const std::map<std::string, PodPtr>& keeping_away() const { return keeping_away_; }
  const std::map<std::string, std::string>* namespace_labels(const std::string& name) const;

  // Rises with every change that may let a Pod fit that did not; the second with those
  // that help only who asks for company (affinity, spreading): Pods that arrive.
  uint64_t improvements() const { return improvements_; }
  uint64_t arrivals() const { return arrivals_; }

 private:
  NodeInfo& at(const std::string& name);
  void drop_if_empty(const std::string& name);
  void place(const PodPtr& pod);
  void displace(const std::string& key);

  std::map<std::string, std::unique_ptr<NodeInfo>> nodes_;
  std::vector<const NodeInfo*> listed_;
  std::map<std::string, std::map<std::string, std::string>> namespaces_;
  std::unordered_map<std::string, PodPtr> placed_;  // by key; `node` is where
  std::map<std::string, PodPtr> keeping_away_;
  std::set<std::string> assumed_;
  uint64_t improvements_ = 0;
  uint64_t arrivals_ = 0;
};

}  // namespace keelson::scheduler
