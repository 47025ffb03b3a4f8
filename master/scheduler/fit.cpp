#include "master/scheduler/fit.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "api/validate.h"

namespace keelson::scheduler {

namespace {

std::optional<int64_t> number_of(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool matches(const api::NodeSelectorRequirement& requirement, const std::string* value) {
  const std::string& op = requirement.operator_;
  const bool listed = value != nullptr && std::find(requirement.values.begin(), requirement.values.end(), *value) !=
                                              requirement.values.end();
  if (op == "In") return listed;
  if (op == "NotIn") return !listed;
  if (op == "Exists") return value != nullptr;
  if (op == "DoesNotExist") return value == nullptr;
  if (value == nullptr || requirement.values.size() != 1) return false;
  const auto left = number_of(*value), right = number_of(requirement.values[0]);
  if (!left || !right) return false;
  if (op == "Gt") return *left > *right;
  if (op == "Lt") return *left < *right;
  return false;
}

// A term without requirements matches no node.
bool matches(const api::NodeSelectorTerm& term, const NodeInfo& node) {
  if (term.match_expressions.empty() && term.match_fields.empty()) return false;
  return std::all_of(term.match_expressions.begin(), term.match_expressions.end(),
                     [&](const auto& requirement) {
                       const auto label = node.labels.find(requirement.key);
                       return matches(requirement, label == node.labels.end() ? nullptr : &label->second);
                     }) &&
         std::all_of(term.match_fields.begin(), term.match_fields.end(), [&](const auto& requirement) {
           return requirement.key == "metadata.name" && matches(requirement, &node.name);
         });
}

bool has_free_ports(const PodInfo& pod, const NodeInfo& node) {
  return std::none_of(pod.host_ports.begin(), pod.host_ports.end(), [&](const HostPort& wanted) {
    return std::any_of(node.host_ports.begin(), node.host_ports.end(),
                       [&](const auto& taken) { return conflict(wanted, taken.first); });
  });
}

std::optional<Refusal> lacks(const PodInfo& pod, const NodeInfo& node) {
  Refusal refusal{.reasons = {}, .crowded = true};
  if (static_cast<int64_t>(node.pods.size()) + 1 > node.pods_allowed) refusal.reasons.emplace_back("Too many pods");
  const auto check = [&](const std::string& name, int64_t wanted, int64_t allocatable, int64_t taken) {
    if (wanted > 0 && wanted > allocatable - taken) refusal.reasons.push_back("Insufficient " + name);
  };
  check("cpu", pod.requests.cpu, node.allocatable.cpu, node.requested.cpu);
  check("memory", pod.requests.memory, node.allocatable.memory, node.requested.memory);
  check("ephemeral-storage", pod.requests.ephemeral_storage, node.allocatable.ephemeral_storage,
        node.requested.ephemeral_storage);
  for (const auto& [name, wanted] : pod.requests.others) {
    const auto amount = [&name = name](const Amounts& amounts) {
      const auto found = amounts.others.find(name);
      return found == amounts.others.end() ? 0 : found->second;
    };
    check(name, wanted, amount(node.allocatable), amount(node.requested));
  }
  if (refusal.reasons.empty()) return std::nullopt;
  return refusal;
}

double share(int64_t used, int64_t of) {
  return of <= 0 ? 1.0 : std::min(1.0, static_cast<double>(used) / static_cast<double>(of));
}

}  // namespace

bool tolerates(const std::vector<api::Toleration>& tolerations, const api::Taint& taint) {
  return std::any_of(tolerations.begin(), tolerations.end(), [&](const api::Toleration& toleration) {
    if (!toleration.effect.empty() && toleration.effect != taint.effect) return false;
    if (!toleration.key.empty() && toleration.key != taint.key) return false;
    if (toleration.operator_ == "Exists") return true;
    return !toleration.key.empty() && toleration.value == taint.value;
  });
}

const api::Taint* untolerated(const PodInfo& pod, const NodeInfo& node) {
  for (const api::Taint& taint : node.taints) {
    if (taint.effect != "NoSchedule" && taint.effect != "NoExecute") continue;
    if (!tolerates(pod.wishes.tolerations, taint)) return &taint;
  }
  return nullptr;
}

bool selects(const PodInfo& pod, const NodeInfo& node) {
  if (!api::matches(pod.wishes.node_selector, node.labels)) return false;
  if (!pod.wishes.node_affinity) return true;
  const auto& required = pod.wishes.node_affinity->required_during_scheduling_ignored_during_execution;
  if (!required) return true;
  return std::any_of(required->node_selector_terms.begin(), required->node_selector_terms.end(),
                     [&](const api::NodeSelectorTerm& term) { return matches(term, node); });
}

std::optional<Refusal> refusal(const PodInfo& pod, const NodeInfo& node) {
  static const api::Taint kCordoned{
      .key = "node.kubernetes.io/unschedulable", .value = {}, .effect = "NoSchedule", .time_added = {}};
  if (node.unschedulable && !tolerates(pod.wishes.tolerations, kCordoned)) {
    return Refusal{{"node(s) were unschedulable"}, false};
  }
  if (const api::Taint* taint = untolerated(pod, node)) {
    return Refusal{{fmt::format("node(s) had untolerated taint {{{}: {}}}", taint->key, taint->value)}, false};
  }
  if (!selects(pod, node)) return Refusal{{"node(s) didn't match Pod's node affinity/selector"}, false};
  if (!has_free_ports(pod, node)) {
    return Refusal{{"node(s) didn't have free ports for the requested pod ports"}, true};
  }
  return lacks(pod, node);
}

Score score(const PodInfo& pod, const NodeInfo& node) {
  Score score;
  const double cpu = share(node.use.cpu + pod.use.cpu, node.allocatable.cpu);
  const double memory = share(node.use.memory + pod.use.memory, node.allocatable.memory);
  score.room = std::lround((1 - cpu + 1 - memory) * 50);
  // The standard deviation of two shares is half of their distance.
  score.balance = std::lround((1 - std::fabs(cpu - memory) / 2) * 100);
  if (pod.wishes.node_affinity) {
    for (const auto& term : pod.wishes.node_affinity->preferred_during_scheduling_ignored_during_execution) {
      if (matches(term.preference, node)) score.affinity += term.weight;
    }
  }
  for (const api::Taint& taint : node.taints) {
    if (taint.effect == "PreferNoSchedule" && !tolerates(pod.wishes.tolerations, taint)) ++score.dislikes;
  }
  if (pod.group != 0) {
    const auto replicas = node.groups.find(pod.group);
    if (replicas != node.groups.end()) score.replicas = replicas->second;
  }
  return score;
}

}  // namespace keelson::scheduler
