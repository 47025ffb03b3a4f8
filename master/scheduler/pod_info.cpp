#include "master/scheduler/pod_info.h"

#include <functional>

#include "api/codec.h"

namespace keelson::scheduler {

namespace {

constexpr std::string_view kAll = "0.0.0.0";

void add_host_ports(const std::vector<api::Container>& containers, bool sidecars_only, std::vector<HostPort>& out) {
  for (const api::Container& container : containers) {
    if (sidecars_only && container.restart_policy != "Always") continue;
    for (const api::ContainerPort& port : container.ports) {
      if (port.host_port.value_or(0) <= 0) continue;
      out.push_back({port.protocol.empty() ? "TCP" : port.protocol,
                     port.host_ip.empty() || port.host_ip == "::" ? std::string(kAll) : port.host_ip, *port.host_port});
    }
  }
}

uint64_t hash(std::string_view text) { return std::hash<std::string_view>()(text); }

uint64_t group_of(const api::Pod& pod) {
  for (const api::OwnerReference& owner : pod.metadata.owner_references) {
    if (owner.controller.value_or(false)) return hash(owner.uid);
  }
  std::string text = pod.metadata.namespace_;
  if (pod.metadata.labels.empty()) return 0;  // nothing makes it anybody's replica
  for (const auto& [name, value] : pod.metadata.labels) text += '\n' + name + '=' + value;
  return hash(text);
}

// All that placement looks at, as text.
uint64_t kind_of(const api::Pod& pod, const std::vector<HostPort>& ports) {
  api::Pod part;
  part.metadata.namespace_ = pod.metadata.namespace_;
  part.metadata.labels = pod.metadata.labels;
  part.spec.node_selector = pod.spec.node_selector;
  part.spec.affinity = pod.spec.affinity;
  part.spec.tolerations = pod.spec.tolerations;
  part.spec.topology_spread_constraints = pod.spec.topology_spread_constraints;
  part.spec.overhead = pod.spec.overhead;
  part.spec.resources = pod.spec.resources;
  part.spec.preemption_policy = pod.spec.preemption_policy;
  const auto take = [](const std::vector<api::Container>& from, std::vector<api::Container>& to) {
    for (const api::Container& container : from) {
      api::Container& made = to.emplace_back();
      made.resources.requests = container.resources.requests;
      made.restart_policy = container.restart_policy;
    }
  };
  take(pod.spec.containers, part.spec.containers);
  take(pod.spec.init_containers, part.spec.init_containers);
  std::string text = api::encode_json(part);
  for (const HostPort& port : ports) text += port.protocol + port.host_ip + std::to_string(port.port) + ';';
  return hash(text);
}

// What its own labels add to the selector of a term (matchLabelKeys).
api::PodAffinityTerm completed(api::PodAffinityTerm term, const api::Pod& pod) {
  const auto require = [&](const std::vector<std::string>& keys, const char* op) {
    for (const std::string& key : keys) {
      const auto label = pod.metadata.labels.find(key);
      if (label == pod.metadata.labels.end()) continue;
      if (!term.label_selector) term.label_selector.emplace();
      term.label_selector->match_expressions.push_back({key, op, {label->second}});
    }
  };
  require(term.match_label_keys, "In");
  require(term.mismatch_label_keys, "NotIn");
  if (term.namespaces.empty() && !term.namespace_selector) term.namespaces.push_back(pod.metadata.namespace_);
  return term;
}

void add_wishes(const api::Pod& pod, PodInfo& info) {
  Wishes& wishes = info.wishes;
  wishes.node_selector = pod.spec.node_selector;
  wishes.tolerations = pod.spec.tolerations;
  wishes.may_preempt = pod.spec.preemption_policy != "Never";
  for (api::TopologySpreadConstraint constraint : pod.spec.topology_spread_constraints) {
    for (const std::string& key : constraint.match_label_keys) {
      const auto label = pod.metadata.labels.find(key);
      if (label == pod.metadata.labels.end()) continue;
      if (!constraint.label_selector) constraint.label_selector.emplace();
      constraint.label_selector->match_expressions.push_back({key, "In", {label->second}});
    }
    wishes.spread.push_back(std::move(constraint));
  }
  if (!pod.spec.affinity) return;
  const api::Affinity& affinity = *pod.spec.affinity;
  wishes.node_affinity = affinity.node_affinity;
  const auto weighted = [&](const std::vector<api::WeightedPodAffinityTerm>& from, auto& to) {
    for (const auto& term : from) to.push_back({term.weight, completed(term.pod_affinity_term, pod)});
  };
  if (affinity.pod_affinity) {
    for (const auto& term : affinity.pod_affinity->required_during_scheduling_ignored_during_execution) {
      wishes.near.push_back(completed(term, pod));
    }
    weighted(affinity.pod_affinity->preferred_during_scheduling_ignored_during_execution, wishes.rather_near);
  }
  if (affinity.pod_anti_affinity) {
    weighted(affinity.pod_anti_affinity->preferred_during_scheduling_ignored_during_execution, wishes.rather_far);
  }
}

}  // namespace

bool conflict(const HostPort& a, const HostPort& b) {
  return a.port == b.port && a.protocol == b.protocol &&
         (a.host_ip == b.host_ip || a.host_ip == kAll || b.host_ip == kAll);
}

PodPtr info_of(const api::Pod& pod) {
  auto info = std::make_shared<PodInfo>();
  info->namespace_ = pod.metadata.namespace_;
  info->name = pod.metadata.name;
  info->uid = pod.metadata.uid;
  info->node = pod.spec.node_name;
  info->scheduler = pod.spec.scheduler_name;
  info->labels = pod.metadata.labels;
  info->requests = requests_of(pod);
  info->use = scored_use_of(pod);
  add_host_ports(pod.spec.containers, false, info->host_ports);
  add_host_ports(pod.spec.init_containers, true, info->host_ports);
  info->priority = pod.spec.priority.value_or(0);
  info->created = pod.metadata.creation_timestamp ? pod.metadata.creation_timestamp->seconds : 0;
  info->finished = pod.status.phase == "Succeeded" || pod.status.phase == "Failed";
  info->deleting = pod.metadata.deletion_timestamp.has_value();
  info->gated = !pod.spec.scheduling_gates.empty();
  info->group = group_of(pod);
  if (pod.spec.affinity && pod.spec.affinity->pod_anti_affinity) {
    const auto& terms = pod.spec.affinity->pod_anti_affinity->required_during_scheduling_ignored_during_execution;
    for (const api::PodAffinityTerm& term : terms) info->far.push_back(completed(term, pod));
  }
  if (info->node.empty()) {
    info->kind = kind_of(pod, info->host_ports);
    add_wishes(pod, *info);
    for (const api::PodCondition& condition : pod.status.conditions) {
      if (condition.type != "PodScheduled") continue;
      info->condition_status = condition.status;
      info->condition_reason = condition.reason;
      info->condition_message = condition.message;
      info->condition_since = condition.last_transition_time ? condition.last_transition_time->seconds : 0;
    }
  }
  return info;
}

}  // namespace keelson::scheduler
