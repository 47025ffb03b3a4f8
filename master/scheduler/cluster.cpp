#include "master/scheduler/cluster.h"

#include <algorithm>

namespace keelson::scheduler {

namespace {

constexpr const char* kNotReady = "node.kubernetes.io/not-ready";
constexpr const char* kUnreachable = "node.kubernetes.io/unreachable";

std::vector<api::Taint> taints_of(const api::Node& node) {
  std::vector<api::Taint> taints = node.spec.taints;
  std::string ready = "False";
  for (const api::NodeCondition& condition : node.status.conditions) {
    if (condition.type == "Ready") ready = condition.status;
  }
  if (ready == "True") return taints;
  const std::string key = ready == "Unknown" ? kUnreachable : kNotReady;
  const bool said = std::any_of(taints.begin(), taints.end(), [](const api::Taint& taint) {
    return (taint.key == kNotReady || taint.key == kUnreachable) && taint.effect == "NoSchedule";
  });
  if (!said) taints.push_back({.key = key, .value = {}, .effect = "NoSchedule", .time_added = {}});
  return taints;
}

}  // namespace

void NodeInfo::add(const PodPtr& pod) {
  if (!pods.emplace(pod->key(), pod).second) return;
  requested.add(pod->requests);
  use.cpu += pod->use.cpu;
  use.memory += pod->use.memory;
  for (const HostPort& port : pod->host_ports) ++host_ports[port];
  if (!pod->deleting) ++groups[pod->group];
}

void NodeInfo::remove(const PodPtr& pod) {
  if (pods.erase(pod->key()) == 0) return;
  requested.subtract(pod->requests);
  use.cpu -= pod->use.cpu;
  use.memory -= pod->use.memory;
  for (const HostPort& port : pod->host_ports) {
    if (--host_ports[port] == 0) host_ports.erase(port);
  }
  if (!pod->deleting && --groups[pod->group] == 0) groups.erase(pod->group);
}

NodeInfo& Cluster::at(const std::string& name) {
  auto& info = nodes_[name];
  if (!info) {
    info = std::make_unique<NodeInfo>();
    info->name = name;
  }
  return *info;
}

void Cluster::drop_if_empty(const std::string& name) {
  const auto found = nodes_.find(name);
  if (found != nodes_.end() && !found->second->known && found->second->pods.empty()) nodes_.erase(found);
}

void Cluster::set_node(const api::Node& node) {
  NodeInfo& info = at(node.metadata.name);
  auto taints = taints_of(node);
  Amounts allocatable = amounts_of(node.status.allocatable);
  const auto pods = node.status.allocatable.find("pods");
  const int64_t pods_allowed = pods == node.status.allocatable.end() ? 0 : pods->second.value();
  const bool unschedulable = node.spec.unschedulable.value_or(false);
  // A heartbeat changes none of this, and lets nobody in.
  const bool changed = !info.known || info.unschedulable != unschedulable || info.labels != node.metadata.labels ||
                       info.taints != taints || info.allocatable != allocatable || info.pods_allowed != pods_allowed;
  if (!changed) return;
  if (!info.known) listed_.push_back(&info);
  info.known = true;
  info.unschedulable = unschedulable;
  info.labels = node.metadata.labels;
  info.taints = std::move(taints);
  info.allocatable = std::move(allocatable);
  info.pods_allowed = pods_allowed;
  ++improvements_;
}

void Cluster::remove_node(const std::string& name) {
  const auto found = nodes_.find(name);
  if (found == nodes_.end() || !found->second->known) return;
  found->second->known = false;
  std::erase(listed_, found->second.get());
  drop_if_empty(name);
  ++improvements_;  // spreading over one domain less may be easier; and the reasons have changed
}

void Cluster::set_namespace(const std::string& name, std::map<std::string, std::string> labels) {
  auto& known = namespaces_[name];
  if (known == labels) return;
  known = std::move(labels);
  ++improvements_;
}

void Cluster::remove_namespace(const std::string& name) { namespaces_.erase(name); }

const std::map<std::string, std::string>* Cluster::namespace_labels(const std::string& name) const {
  const auto found = namespaces_.find(name);
  return found == namespaces_.end() ? nullptr : &found->second;
}

const NodeInfo* Cluster::node(const std::string& name) const {
  const auto found = nodes_.find(name);
  return found == nodes_.end() || !found->second->known ? nullptr : found->second.get();
}

void Cluster::place(const PodPtr& pod) {
  at(pod->node).add(pod);
  placed_[pod->key()] = pod;
  if (!pod->far.empty()) keeping_away_[pod->key()] = pod;
}

void Cluster::displace(const std::string& key) {
  const auto found = placed_.find(key);
  if (found == placed_.end()) return;
  const PodPtr pod = found->second;
  placed_.erase(found);
  keeping_away_.erase(key);
  at(pod->node).remove(pod);
  drop_if_empty(pod->node);
}

void Cluster::set_pod(PodPtr pod) {
  const std::string key = pod->key();
  const auto found = placed_.find(key);
  const PodPtr before = found == placed_.end() ? nullptr : found->second;
  if (pod->node.empty() || pod->finished) {
    if (before == nullptr) return;
    if (!pod->finished && assumed_.contains(key) && before->uid == pod->uid) return;
    displace(key);
    assumed_.erase(key);
    ++improvements_;
    return;
  }
  assumed_.erase(key);
  displace(key);
  place(pod);
  if (before == nullptr || before->labels != pod->labels) ++arrivals_;
  // Elsewhere or smaller than it was, or no longer what others keep away from.
  if (before != nullptr && (before->node != pod->node || before->requests != pod->requests ||
                            before->labels != pod->labels || before->deleting != pod->deleting)) {
    ++improvements_;
  }
}

void Cluster::remove_pod(const std::string& key, const std::string& uid) {
  const auto found = placed_.find(key);
  if (found == placed_.end() || found->second->uid != uid) return;
  displace(key);
  assumed_.erase(key);
  ++improvements_;
}

void Cluster::assume(const PodPtr& pod, const std::string& node) {
  auto assumed = std::make_shared<PodInfo>(*pod);
  assumed->node = node;
  assumed->wishes = {};
  displace(pod->key());
  place(assumed);
  assumed_.insert(pod->key());
  ++arrivals_;
}

void Cluster::forget(const PodPtr& pod) {
  if (!is_assumed(pod)) return;
  displace(pod->key());
  assumed_.erase(pod->key());
  ++improvements_;
}

bool Cluster::is_assumed(const PodPtr& pod) const {
  const auto found = placed_.find(pod->key());
  return found != placed_.end() && found->second->uid == pod->uid && assumed_.contains(pod->key());
}

}  // namespace keelson::scheduler
