// What becomes of an object on its way in, before it is validated (the strategies
// of Kubernetes' registries, and the admission plugins that are always on).
#include <algorithm>
#include <set>

#include "api/resource.h"
#include "api/validate.h"

namespace keelson::api {

namespace {

constexpr int64_t kEvictionSeconds = 300;  // DefaultTolerationSeconds

void tolerate(PodSpec& spec, std::string_view key) {
  const bool tolerated = std::any_of(spec.tolerations.begin(), spec.tolerations.end(), [&](const Toleration& t) {
    return (t.key == key || t.key.empty()) && (t.effect == "NoExecute" || t.effect.empty());
  });
  if (tolerated) return;
  spec.tolerations.push_back({.key = std::string(key),
                              .operator_ = "Exists",
                              .value = {},
                              .effect = "NoExecute",
                              .toleration_seconds = kEvictionSeconds});
}

void prepare(Pod& pod) {
  pod.status = {};
  pod.status.phase = "Pending";
  pod.status.qos_class = qos_class(pod);
  PodSpec& spec = pod.spec;
  if (spec.service_account_name.empty()) spec.service_account_name = spec.service_account = "default";
  if (!spec.priority) spec.priority = 0;
  if (spec.preemption_policy.empty()) spec.preemption_policy = "PreemptLowerPriority";
  tolerate(spec, "node.kubernetes.io/not-ready");
  tolerate(spec, "node.kubernetes.io/unreachable");
}

void prepare(ReplicationController& controller) {
  controller.status = {};
  controller.metadata.generation = 1;
}

void prepare(Service& service) { service.status = {}; }

void prepare(Node& node) {
  static constexpr std::string_view kNotReady = "node.kubernetes.io/not-ready";
  std::vector<Taint>& taints = node.spec.taints;
  if (std::any_of(taints.begin(), taints.end(),
                  [](const Taint& t) { return t.key == kNotReady && t.effect == "NoSchedule"; })) {
    return;
  }
  taints.push_back({.key = std::string(kNotReady), .value = {}, .effect = "NoSchedule", .time_added = {}});
}

void prepare(Namespace& space) {
  space.status = {};
  space.status.phase = "Active";
  auto& finalizers = space.spec.finalizers;
  if (std::find(finalizers.begin(), finalizers.end(), "kubernetes") == finalizers.end()) {
    finalizers.emplace_back("kubernetes");
  }
}

// What the server gave an object stays, whatever the update says or leaves out.
void keep_metadata(ObjectMeta& next, const ObjectMeta& current) {
  next.generation = current.generation;
  next.self_link = current.self_link;
  if (next.uid.empty()) next.uid = current.uid;
  if (!next.creation_timestamp) next.creation_timestamp = current.creation_timestamp;
  if (current.deletion_timestamp) {
    next.deletion_timestamp = current.deletion_timestamp;
    next.deletion_grace_period_seconds = current.deletion_grace_period_seconds;
  }
}

bool has_cluster_ip(const ServiceSpec& spec) { return spec.type != "ExternalName"; }
bool has_node_ports(const ServiceSpec& spec) { return spec.type == "NodePort" || spec.type == "LoadBalancer"; }

// Who sends a Service as it was first written wants the addresses it was given since.
void keep_allocated(ServiceSpec& next, const ServiceSpec& current) {
  if (has_cluster_ip(next) && has_cluster_ip(current)) {
    if (next.cluster_ip.empty()) next.cluster_ip = current.cluster_ip;
    if (next.cluster_ips.empty() && next.cluster_ip == current.cluster_ip) next.cluster_ips = current.cluster_ips;
    if (next.ip_families.empty()) next.ip_families = current.ip_families;
    if (next.ip_family_policy.empty()) next.ip_family_policy = current.ip_family_policy;
  }
  if (!has_node_ports(next) || !has_node_ports(current)) return;
  std::set<int32_t> used;
  for (const ServicePort& port : next.ports) used.insert(port.node_port.value_or(0));
  for (ServicePort& port : next.ports) {
    if (port.node_port.value_or(0) != 0) continue;
    for (const ServicePort& old : current.ports) {
      if (old.name == port.name && used.insert(old.node_port.value_or(0)).second) port.node_port = old.node_port;
    }
  }
  if (next.health_check_node_port.value_or(0) == 0 && next.external_traffic_policy == "Local" &&
      current.external_traffic_policy == "Local" && next.type == current.type) {
    next.health_check_node_port = current.health_check_node_port;
  }
}

template <typename T>
void update(T& next, const T& current) {
  next.status = current.status;
  if constexpr (std::is_same_v<T, Service>) keep_allocated(next.spec, current.spec);
  if constexpr (std::is_same_v<T, Namespace>) next.spec.finalizers = current.spec.finalizers;
  if constexpr (std::is_same_v<T, ReplicationController>) {
    if (!(next.spec == current.spec)) next.metadata.generation = current.metadata.generation.value_or(0) + 1;
  }
}

template <typename T>
void update_status(T& next, const T& current) {
  next.spec = current.spec;
  next.metadata.owner_references = current.metadata.owner_references;
}

// Calls `act` with both as their own type, when that has spec and status.
template <typename Act>
void with_status(AnyObject& next, const AnyObject& current, Act act) {
  const auto as = [&]<typename T>(T* typed) {
    if (typed != nullptr) act(*typed, *current.get_if<T>());
    return typed != nullptr;
  };
  as(next.get_if<Pod>()) || as(next.get_if<Service>()) || as(next.get_if<ReplicationController>()) ||
      as(next.get_if<Node>()) || as(next.get_if<Namespace>());
}

}  // namespace

void prepare_create(AnyObject& object) {
  ObjectMeta& metadata = object.metadata();
  metadata.deletion_timestamp.reset();
  metadata.deletion_grace_period_seconds.reset();
  metadata.self_link.clear();
  metadata.generation.reset();
  const auto as = [&]<typename T>(T* typed) {
    if (typed != nullptr) prepare(*typed);
    return typed != nullptr;
  };
  as(object.get_if<Pod>()) || as(object.get_if<Service>()) || as(object.get_if<ReplicationController>()) ||
      as(object.get_if<Node>()) || as(object.get_if<Namespace>());
}

void prepare_update(AnyObject& next, const AnyObject& current) {
  keep_metadata(next.metadata(), current.metadata());
  with_status(next, current, [](auto& to, const auto& from) { update(to, from); });
}

void prepare_status_update(AnyObject& next, const AnyObject& current) {
  keep_metadata(next.metadata(), current.metadata());
  with_status(next, current, [](auto& to, const auto& from) { update_status(to, from); });
}

}  // namespace keelson::api
