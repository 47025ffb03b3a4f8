#include "master/controllers/evictions.h"

#include <algorithm>

#include "master/controllers/node_health.h"
#include "master/controllers/replicas.h"

namespace keelson::controllers {

namespace {

constexpr int64_t kAdmissionSeconds = 300;

bool tolerates(const api::Toleration& toleration, const api::Taint& taint) {
  if (!toleration.effect.empty() && toleration.effect != taint.effect) return false;
  if (!toleration.key.empty() && toleration.key != taint.key) return false;
  if (toleration.operator_ == "Exists") return true;
  return !toleration.key.empty() && toleration.value == taint.value;
}

// Since when it has been on its node.
int64_t there_since(const api::Pod& pod) {
  const api::PodCondition* scheduled = condition_of(pod, "PodScheduled");
  if (scheduled != nullptr && scheduled->status == "True" && scheduled->last_transition_time) {
    return scheduled->last_transition_time->seconds;
  }
  return pod.metadata.creation_timestamp ? pod.metadata.creation_timestamp->seconds : 0;
}

}  // namespace

std::optional<int64_t> eviction_time(const api::Pod& pod, const std::vector<api::Taint>& taints,
                                     const EvictionPolicy& policy, int64_t now) {
  std::optional<int64_t> earliest;
  for (const api::Taint& taint : taints) {
    if (taint.effect != "NoExecute") continue;
    const bool health = taint.key == kNotReadyTaint || taint.key == kUnreachableTaint;
    bool forever = false, tolerated = false;
    std::optional<int64_t> seconds;
    for (const api::Toleration& toleration : pod.spec.tolerations) {
      if (!tolerates(toleration, taint)) continue;
      tolerated = true;
      if (!toleration.toleration_seconds) {
        // Without a time it is for ever, unless another one says less.
        forever = true;
        continue;
      }
      int64_t allowed = std::max<int64_t>(0, *toleration.toleration_seconds);
      if (health && allowed == kAdmissionSeconds && policy.default_seconds) allowed = *policy.default_seconds;
      seconds = std::min(seconds.value_or(allowed), allowed);
    }
    if (tolerated && !seconds && forever) continue;
    const int64_t since = std::max(taint.time_added ? taint.time_added->seconds : now, there_since(pod));
    int64_t when = since + seconds.value_or(0);
    if (health) when = std::max(when, policy.not_before);
    earliest = std::min(earliest.value_or(when), when);
  }
  return earliest;
}

void Evictions::set(const std::string& pod, std::optional<int64_t> when) {
  const auto found = times_.find(pod);
  if (found != times_.end()) {
    if (when && *when == found->second) return;
    order_.erase({found->second, pod});
    times_.erase(found);
  }
  if (!when) return;
  times_[pod] = *when;
  order_.emplace(*when, pod);
}

std::vector<std::string> Evictions::take_due(int64_t now) {
  std::vector<std::string> due;
  while (!order_.empty() && order_.begin()->first <= now) {
    due.push_back(order_.begin()->second);
    times_.erase(order_.begin()->second);
    order_.erase(order_.begin());
  }
  return due;
}

std::optional<int64_t> Evictions::next() const {
  if (order_.empty()) return std::nullopt;
  return order_.begin()->first;
}

}  // namespace keelson::controllers
