#include "agent/node/conditions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace keelson::node {
namespace {

bool scarce(int64_t left, int64_t all, int percent) { return left >= 0 && all > 0 && left < all / 100 * percent; }

}  // namespace

std::vector<api::NodeCondition> make_conditions(const Wellbeing& wellbeing,
                                                const std::vector<api::NodeCondition>& before, api::Time now) {
  const auto& p = wellbeing.pressure;
  std::vector<api::NodeCondition> conditions;
  const auto add = [&](const char* type, bool status, const char* reason, std::string message) {
    api::NodeCondition condition{.type = type,
                                 .status = status ? "True" : "False",
                                 .last_heartbeat_time = now,
                                 .last_transition_time = now,
                                 .reason = reason,
                                 .message = std::move(message)};
    const auto old = std::ranges::find(before, condition.type, &api::NodeCondition::type);
    if (old != before.end() && old->status == condition.status && old->last_transition_time)
      condition.last_transition_time = old->last_transition_time;
    conditions.push_back(std::move(condition));
  };

  if (wellbeing.no_network.empty()) {
    add("NetworkUnavailable", false, "RouteCreated", "keelson-agent connects and routes this node's pods");
  } else {
    add("NetworkUnavailable", true, "NoRouteCreated", wellbeing.no_network);
  }
  if (p.memory_available >= 0 && p.memory_available < kMemoryNeeded) {
    add("MemoryPressure", true, "KubeletHasInsufficientMemory", "kubelet has insufficient memory available");
  } else {
    add("MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available");
  }
  if (scarce(p.disk_available, p.disk_total, kDiskPercentNeeded) ||
      scarce(p.inodes_free, p.inodes_total, kInodePercentNeeded)) {
    add("DiskPressure", true, "KubeletHasDiskPressure", "kubelet has disk pressure");
  } else {
    add("DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure");
  }
  if (scarce(p.pids_max - p.pids, p.pids_max, kPidPercentNeeded) && p.pids >= 0) {
    add("PIDPressure", true, "KubeletHasInsufficientPID", "kubelet has insufficient PID available");
  } else {
    add("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available");
  }
  auto reasons = wellbeing.not_ready;
  if (!wellbeing.no_network.empty()) {
    reasons.push_back(
        fmt::format("container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:{}",
                    wellbeing.no_network));
  }
  if (reasons.empty()) {
    add("Ready", true, "KubeletReady", "kubelet is posting ready status");
  } else {
    add("Ready", false, "KubeletNotReady", fmt::format("[{}]", fmt::join(reasons, ", ")));
    if (reasons.size() == 1) conditions.back().message = reasons.front();
  }
  return conditions;
}

}  // namespace keelson::node
