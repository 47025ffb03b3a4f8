#include "agent/pods/admission.h"

#include <fmt/core.h>

#include <algorithm>

#include "agent/pods/container_spec.h"
#include "api/query.h"
#include "api/static_pod.h"

namespace keelson::pods {
namespace {

bool is_any(const std::string& ip) { return ip.empty() || ip == "0.0.0.0" || ip == "::"; }

Rejection out_of(const char* resource, int64_t requested, int64_t used, int64_t capacity) {
  return {fmt::format("OutOf{}", resource),
          fmt::format("Pod was rejected: Node didn't have enough resource: {}, requested: {}, used: {}, capacity: {}",
                      resource, requested, used, capacity)};
}

bool tolerates(const api::PodSpec& spec, const api::Taint& taint) {
  return std::ranges::any_of(spec.tolerations, [&](const api::Toleration& toleration) {
    if (!toleration.effect.empty() && toleration.effect != taint.effect) return false;
    if (toleration.key.empty()) return toleration.operator_ == "Exists";
    if (toleration.key != taint.key) return false;
    return toleration.operator_ == "Exists" || toleration.value == taint.value;
  });
}

// One requirement of a node selector term, of labels or of fields.
bool meets(const api::NodeSelectorRequirement& requirement, const std::map<std::string, std::string>& values) {
  using Operator = api::LabelRequirement::Operator;
  static const std::map<std::string, Operator> kOperators = {
      {"In", Operator::in},      {"NotIn", Operator::not_in}, {"Exists", Operator::exists},
      {"Gt", Operator::greater}, {"Lt", Operator::less},      {"DoesNotExist", Operator::does_not_exist}};
  const auto op = kOperators.find(requirement.operator_);
  if (op == kOperators.end()) return false;
  auto sorted = requirement.values;
  std::ranges::sort(sorted);
  return api::LabelQuery{{{requirement.key, op->second, std::move(sorted)}}}.matches(values);
}

bool chooses_node(const api::PodSpec& spec, const std::string& name, const std::map<std::string, std::string>& labels) {
  for (const auto& [key, value] : spec.node_selector) {
    const auto found = labels.find(key);
    if (found == labels.end() || found->second != value) return false;
  }
  if (!spec.affinity || !spec.affinity->node_affinity ||
      !spec.affinity->node_affinity->required_during_scheduling_ignored_during_execution)
    return true;
  const auto& selector = *spec.affinity->node_affinity->required_during_scheduling_ignored_during_execution;
  const std::map<std::string, std::string> fields = {{"metadata.name", name}};
  return std::ranges::any_of(selector.node_selector_terms, [&](const api::NodeSelectorTerm& term) {
    const bool asks = !term.match_expressions.empty() || !term.match_fields.empty();
    return asks && std::ranges::all_of(term.match_expressions, [&](const auto& one) { return meets(one, labels); }) &&
           std::ranges::all_of(term.match_fields, [&](const auto& one) { return meets(one, fields); });
  });
}

}  // namespace

bool Admission::conflicts(const Port& a, const Port& b) {
  return a.number == b.number && a.protocol == b.protocol && (is_any(a.ip) || is_any(b.ip) || a.ip == b.ip);
}

std::optional<Rejection> Admission::admit(const api::Pod& pod, bool forced) {
  if (claims_.contains(pod.metadata.uid)) return std::nullopt;
  auto requests = pod_requests(pod);
  Claim claim{.pod = pod.metadata.namespace_ + "/" + pod.metadata.name,
              .ports = {},
              .cpu_milli = requests.cpu_request_milli,
              .memory_bytes = requests.memory_request_bytes};
  for (const auto* list : {&pod.spec.init_containers, &pod.spec.containers}) {
    for (const auto& container : *list) {
      for (const auto& port : container.ports) {
        if (!port.host_port || *port.host_port == 0) continue;
        claim.ports.push_back({port.host_ip, port.protocol.empty() ? "TCP" : port.protocol, *port.host_port});
      }
    }
  }
  if (!forced) {
    if (auto wrong = out_of_place(pod)) return wrong;
    for (const auto& port : claim.ports) {
      auto [from, to] = port_claims_.equal_range(port.number);
      for (auto it = from; it != to; ++it) {
        const auto& other = claims_.at(it->second);
        for (const auto& taken : other.ports) {
          if (!conflicts(port, taken)) continue;
          return Rejection{
              "NodePorts",
              fmt::format("Pod was rejected: Predicate NodePorts failed: host port {}/{} is used by pod {}",
                          port.number, port.protocol, other.pod)};
        }
      }
    }
    if (node_.pods > 0 && static_cast<int64_t>(claims_.size()) >= node_.pods)
      return out_of("pods", 1, static_cast<int64_t>(claims_.size()), node_.pods);
    if (node_.cpu_milli > 0 && claim.cpu_milli > 0 && cpu_milli_ + claim.cpu_milli > node_.cpu_milli)
      return out_of("cpu", claim.cpu_milli, cpu_milli_, node_.cpu_milli);
    if (node_.memory_bytes > 0 && claim.memory_bytes > 0 && memory_bytes_ + claim.memory_bytes > node_.memory_bytes)
      return out_of("memory", claim.memory_bytes, memory_bytes_, node_.memory_bytes);
  }
  cpu_milli_ += claim.cpu_milli;
  memory_bytes_ += claim.memory_bytes;
  for (const auto& port : claim.ports) port_claims_.emplace(port.number, pod.metadata.uid);
  claims_.emplace(pod.metadata.uid, std::move(claim));
  return std::nullopt;
}

void Admission::set_node(std::map<std::string, std::string> labels, std::vector<api::Taint> taints) {
  labels_ = std::move(labels);
  taints_ = std::move(taints);
}

std::optional<Rejection> Admission::out_of_place(const api::Pod& pod) const {
  if (!labels_) return std::nullopt;
  const auto failed = [](const char* predicate, const char* why) {
    return Rejection{predicate, fmt::format("Pod was rejected: Predicate {} failed: {}", predicate, why)};
  };
  if (!chooses_node(pod.spec, node_.name, *labels_))
    return failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector");
  if (api::is_static(pod)) return std::nullopt;
  for (const auto& taint : taints_) {
    // NoSchedule is the scheduler's: one that is bound all the same was bound by somebody who knows.
    if (taint.effect == "NoExecute" && !tolerates(pod.spec, taint))
      return failed("TaintToleration", "node(s) had untolerated taint(s)");
  }
  return std::nullopt;
}

void Admission::release(const std::string& uid) {
  auto found = claims_.find(uid);
  if (found == claims_.end()) return;
  for (const auto& port : found->second.ports) {
    auto [from, to] = port_claims_.equal_range(port.number);
    for (auto it = from; it != to;) it = it->second == uid ? port_claims_.erase(it) : std::next(it);
  }
  cpu_milli_ -= found->second.cpu_milli;
  memory_bytes_ -= found->second.memory_bytes;
  claims_.erase(found);
}

}  // namespace keelson::pods
