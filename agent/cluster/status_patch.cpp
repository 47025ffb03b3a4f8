#include "agent/cluster/status_patch.h"

#include <fmt/core.h>

#include <algorithm>

#include "api/resource.h"
#include "api/tree.h"

namespace keelson::cluster {
namespace {

// Both lists are merged by "ip": an address that is gone must be said to be.
template <typename List>
std::string whole_list(const List& ips) {
  std::string text = R"([{"$patch":"replace"})";
  for (const auto& one : ips) text += fmt::format(R"(,{{"ip":{}}})", api::json_string(one.ip));
  return text + "]";
}

}  // namespace

std::string status_patch(const std::string& uid, const api::PodStatus& status) {
  auto rest = status;
  rest.pod_ips.clear();
  rest.host_ips.clear();
  std::string text = "{";
  api::append_json_fields(text, api::type_of<api::PodStatus>(), &rest);
  const auto add = [&text](std::string_view name, std::string_view value) {
    text += fmt::format("{}\"{}\":{}", text.size() > 1 ? "," : "", name, value);
  };
  add("podIPs", whole_list(status.pod_ips));
  add("hostIPs", whole_list(status.host_ips));
  const auto absent = [&](std::string_view name, bool empty) {
    if (empty) add(name, "null");
  };
  absent("reason", status.reason.empty());
  absent("message", status.message.empty());
  absent("hostIP", status.host_ip.empty());
  absent("podIP", status.pod_ip.empty());
  absent("initContainerStatuses", status.init_container_statuses.empty());
  absent("containerStatuses", status.container_statuses.empty());
  return fmt::format(R"({{"metadata":{{"uid":{}}},"status":{}}}}})", api::json_string(uid), text);
}

bool agrees(const api::PodStatus& said, const api::PodStatus& known) {
  return said.phase == known.phase && said.pod_ip == known.pod_ip &&
         std::ranges::all_of(said.conditions, [&](const api::PodCondition& condition) {
           const auto there = std::ranges::find(known.conditions, condition.type, &api::PodCondition::type);
           return there != known.conditions.end() && there->status == condition.status;
         });
}

void open_gates(api::PodStatus& status, const api::Pod& known) {
  const auto ready = std::ranges::find(status.conditions, "Ready", &api::PodCondition::type);
  if (ready == status.conditions.end() || ready->reason != "ReadinessGatesNotReady") return;
  const bool open = std::ranges::all_of(known.spec.readiness_gates, [&](const auto& gate) {
    return std::ranges::any_of(known.status.conditions, [&](const api::PodCondition& condition) {
      return condition.type == gate.condition_type && condition.status == "True";
    });
  });
  if (!open) return;
  ready->status = "True";
  ready->reason.clear();
  ready->message.clear();
}

void keep_transition_times(api::PodStatus& status, const api::PodStatus& known) {
  for (auto& condition : status.conditions) {
    const auto old = std::ranges::find(known.conditions, condition.type, &api::PodCondition::type);
    if (old != known.conditions.end() && old->status == condition.status && old->last_transition_time)
      condition.last_transition_time = old->last_transition_time;
  }
}

}  // namespace keelson::cluster
