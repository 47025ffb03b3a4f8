#include "master/controllers/node_health.h"

#include <algorithm>
#include <array>

namespace keelson::controllers {

namespace {

constexpr const char* kUnschedulableTaint = "node.kubernetes.io/unschedulable";

struct ConditionTaint {
  const char* condition;
  const char* when;
  const char* key;
};
// The node lifecycle controller's, in its order.
constexpr std::array<ConditionTaint, 6> kConditionTaints = {{
    {"Ready", "False", kNotReadyTaint},
    {"Ready", "Unknown", kUnreachableTaint},
    {"MemoryPressure", "True", "node.kubernetes.io/memory-pressure"},
    {"DiskPressure", "True", "node.kubernetes.io/disk-pressure"},
    {"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"},
    {"PIDPressure", "True", "node.kubernetes.io/pid-pressure"},
}};

const api::NodeCondition* node_condition(const api::Node& node, std::string_view type) {
  const auto found = std::find_if(node.status.conditions.begin(), node.status.conditions.end(),
                                  [&](const auto& condition) { return condition.type == type; });
  return found == node.status.conditions.end() ? nullptr : &*found;
}

bool is_ours(const api::Taint& taint) {
  if (taint.effect == "NoExecute") return taint.key == kNotReadyTaint || taint.key == kUnreachableTaint;
  if (taint.effect != "NoSchedule") return false;
  return taint.key == kUnschedulableTaint || std::any_of(kConditionTaints.begin(), kConditionTaints.end(),
                                                         [&](const auto& known) { return taint.key == known.key; });
}

}  // namespace

std::string ready_status(const api::Node& node) {
  const api::NodeCondition* ready = node_condition(node, "Ready");
  return ready == nullptr ? std::string() : ready->status;
}

void Heartbeats::saw(const api::Node& node, host::TimePoint now) {
  const auto [found, is_new] = known_.try_emplace(node.metadata.name);
  Known& known = found->second;
  const api::NodeCondition* ready = node_condition(node, "Ready");
  const int64_t heartbeat = ready != nullptr && ready->last_heartbeat_time ? ready->last_heartbeat_time->seconds : 0;
  const std::string status = ready == nullptr ? "" : ready->status;
  // That it is Unknown was written by us.
  const bool spoke = heartbeat != known.heartbeat || (status != known.ready && status != "Unknown");
  if (is_new || !known.is_node || spoke) known.heard = now;
  known.is_node = true;
  known.heartbeat = heartbeat;
  known.ready = status;
}

void Heartbeats::saw(const api::Lease& lease, host::TimePoint now) {
  const auto [found, is_new] = known_.try_emplace(lease.metadata.name);
  Known& known = found->second;
  const int64_t renewed = lease.spec.renew_time ? lease.spec.renew_time->microseconds : 0;
  if (is_new || renewed > known.renewed) known.heard = now;
  known.renewed = renewed;
}

void Heartbeats::restart(host::TimePoint now) {
  for (auto& [name, known] : known_) known.heard = now;
}

std::vector<std::string> Heartbeats::overdue(host::TimePoint now) const {
  std::vector<std::string> names;
  for (const auto& [name, known] : known_) {
    if (known.is_node && known.heard + grace_ <= now) names.push_back(name);
  }
  return names;
}

bool Heartbeats::is_overdue(const std::string& node, host::TimePoint now) const {
  const auto known = known_.find(node);
  return known != known_.end() && known->second.is_node && known->second.heard + grace_ <= now;
}

std::optional<host::TimePoint> Heartbeats::next(host::TimePoint now) const {
  std::optional<host::TimePoint> next;
  for (const auto& [name, known] : known_) {
    const host::TimePoint when = known.heard + grace_;
    if (known.is_node && when > now && (!next || when < *next)) next = when;
  }
  return next;
}

std::optional<std::vector<api::NodeCondition>> silenced(const api::Node& node, int64_t now) {
  std::vector<api::NodeCondition> conditions = node.status.conditions;
  bool changed = false;
  for (const char* type : {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}) {
    const auto found = std::find_if(conditions.begin(), conditions.end(),
                                    [&](const auto& condition) { return condition.type == type; });
    if (found == conditions.end()) {
      conditions.push_back({.type = type,
                            .status = "Unknown",
                            .last_heartbeat_time = node.metadata.creation_timestamp,
                            .last_transition_time = api::Time{now},
                            .reason = "NodeStatusNeverUpdated",
                            .message = "Kubelet never posted node status."});
      changed = true;
    } else if (found->status != "Unknown") {
      found->status = "Unknown";
      found->last_transition_time = api::Time{now};
      found->reason = "NodeStatusUnknown";
      found->message = "Kubelet stopped posting node status.";
      changed = true;
    }
  }
  if (!changed) return std::nullopt;
  return conditions;
}

bool is_disrupted(size_t ready, size_t not_ready) {
  if (not_ready == 0) return false;
  if (ready == 0) return true;
  return not_ready > 2 && 100 * not_ready >= 55 * (ready + not_ready);
}

std::vector<api::Taint> taints_for(const api::Node& node, bool evict, int64_t now) {
  std::vector<api::Taint> taints;
  for (const api::Taint& taint : node.spec.taints) {
    if (!is_ours(taint)) taints.push_back(taint);
  }
  const auto add = [&](const char* key, const char* effect) {
    const auto kept = std::find_if(node.spec.taints.begin(), node.spec.taints.end(),
                                   [&](const auto& taint) { return taint.key == key && taint.effect == effect; });
    if (kept != node.spec.taints.end()) {
      taints.push_back(*kept);
    } else {
      taints.push_back({.key = key, .value = {}, .effect = effect, .time_added = api::Time{now}});
    }
  };
  if (node.spec.unschedulable.value_or(false)) add(kUnschedulableTaint, "NoSchedule");
  // One that has never said how it is, is not ready (the taint that the API server gave it stays).
  if (ready_status(node).empty()) add(kNotReadyTaint, "NoSchedule");
  for (const ConditionTaint& known : kConditionTaints) {
    const api::NodeCondition* condition = node_condition(node, known.condition);
    if (condition == nullptr || condition->status != known.when) continue;
    add(known.key, "NoSchedule");
    if (evict && std::string_view(known.condition) == "Ready") add(known.key, "NoExecute");
  }
  // The order is no difference.
  const auto order = [](const api::Taint& a, const api::Taint& b) {
    return std::tie(a.key, a.effect) < std::tie(b.key, b.effect);
  };
  std::vector<api::Taint> before = node.spec.taints;
  std::sort(before.begin(), before.end(), order);
  std::sort(taints.begin(), taints.end(), order);
  return taints == before ? node.spec.taints : taints;
}

}  // namespace keelson::controllers
