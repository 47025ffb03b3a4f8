#include "master/controllers/replicas.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <tuple>

#include "api/codec.h"
#include "api/tree.h"
#include "api/validate.h"

namespace keelson::controllers {

namespace {

constexpr std::string_view kFailure = "ReplicaFailure";

int64_t ready_since(const api::Pod& pod) {
  const api::PodCondition* ready = condition_of(pod, "Ready");
  if (ready == nullptr || ready->status != "True" || !ready->last_transition_time) return 0;
  return ready->last_transition_time->seconds;
}

int restarts(const api::Pod& pod) {
  int most = 0;
  for (const auto* statuses : {&pod.status.init_container_statuses, &pod.status.container_statuses}) {
    for (const api::ContainerStatus& status : *statuses) most = std::max(most, status.restart_count);
  }
  return most;
}

int64_t deletion_cost(const api::Pod& pod) {
  const auto found = pod.metadata.annotations.find("controller.kubernetes.io/pod-deletion-cost");
  if (found == pod.metadata.annotations.end()) return 0;
  int32_t cost = 0;
  const std::string& text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cost);
  return error == std::errc() && end == text.data() + text.size() ? cost : 0;
}

int phase_rank(const api::Pod& pod) {
  if (pod.status.phase == "Running") return 2;
  return pod.status.phase == "Unknown" ? 1 : 0;
}

// Ages of the same magnitude are equal, so that rollouts do not always take the same Pods (KEP-2185).
int64_t age_rank(int64_t since, int64_t now) {
  return since == 0 ? -1 : std::ilogb(static_cast<double>(std::max<int64_t>(1, now - since)));
}

void set_failure(std::vector<api::ReplicationControllerCondition>& conditions,
                 const std::optional<ReplicaFailure>& failure, int64_t now) {
  const auto found =
      std::find_if(conditions.begin(), conditions.end(), [](const auto& c) { return c.type == kFailure; });
  if (!failure) {
    if (found != conditions.end()) conditions.erase(found);
    return;
  }
  api::ReplicationControllerCondition condition{.type = std::string(kFailure),
                                                .status = "True",
                                                .last_transition_time = api::Time{now},
                                                .reason = failure->reason,
                                                .message = failure->message};
  if (found == conditions.end()) {
    conditions.push_back(std::move(condition));
    return;
  }
  // The first failure stays until one is overcome: texts that name each Pod would be written on and on.
  if (found->status == "True" && found->reason == failure->reason) return;
  *found = std::move(condition);
}

}  // namespace

const api::OwnerReference* controller_of(const api::ObjectMeta& metadata) {
  const auto found = std::find_if(metadata.owner_references.begin(), metadata.owner_references.end(),
                                  [](const auto& owner) { return owner.controller.value_or(false); });
  return found == metadata.owner_references.end() ? nullptr : &*found;
}

const api::PodCondition* condition_of(const api::Pod& pod, std::string_view type) {
  const auto found = std::find_if(pod.status.conditions.begin(), pod.status.conditions.end(),
                                  [&](const auto& condition) { return condition.type == type; });
  return found == pod.status.conditions.end() ? nullptr : &*found;
}

bool is_active(const api::Pod& pod) {
  return pod.status.phase != "Succeeded" && pod.status.phase != "Failed" && !pod.metadata.deletion_timestamp;
}

bool is_ready(const api::Pod& pod) {
  const api::PodCondition* ready = condition_of(pod, "Ready");
  return ready != nullptr && ready->status == "True";
}

bool is_available(const api::Pod& pod, int64_t min_ready_seconds, int64_t now) {
  if (!is_ready(pod)) return false;
  if (min_ready_seconds == 0) return true;
  const int64_t since = ready_since(pod);
  return since != 0 && since + min_ready_seconds <= now;
}

Claims claim(const api::ReplicationController& controller, const std::vector<PodPtr>& pods) {
  Claims claims;
  const bool going = controller.metadata.deletion_timestamp.has_value();
  for (const PodPtr& pod : pods) {
    // An empty selector matches nothing here: defaults have filled it from the template.
    const bool matches =
        !controller.spec.selector.empty() && api::matches(controller.spec.selector, pod->metadata.labels);
    const api::OwnerReference* owner = controller_of(pod->metadata);
    if (owner != nullptr) {
      if (owner->uid != controller.metadata.uid) continue;
      if (matches || going) {
        if (is_active(*pod)) claims.own.push_back(pod);
      } else if (!pod->metadata.deletion_timestamp) {
        claims.release.push_back(pod);
      }
    } else if (matches && !going && is_active(*pod)) {
      claims.adopt.push_back(pod);
    }
  }
  return claims;
}

std::vector<PodPtr> victims(std::vector<PodPtr> pods, size_t count, int64_t now) {
  std::map<std::string, int64_t> on_node;
  for (const PodPtr& pod : pods) ++on_node[pod->spec.node_name];
  const auto rank = [&](const PodPtr& pod) {
    const bool ready = is_ready(*pod);
    const int64_t created = pod->metadata.creation_timestamp ? pod->metadata.creation_timestamp->seconds : 0;
    return std::tuple(!pod->spec.node_name.empty(), phase_rank(*pod), ready, deletion_cost(*pod),
                      -on_node[pod->spec.node_name], ready ? age_rank(ready_since(*pod), now) : 0, -restarts(*pod),
                      age_rank(created, now), std::string_view(pod->metadata.name));
  };
  count = std::min(count, pods.size());
  std::sort(pods.begin(), pods.end(), [&](const PodPtr& a, const PodPtr& b) { return rank(a) < rank(b); });
  pods.resize(count);
  return pods;
}

api::Pod pod_from(const api::ReplicationController& controller) {
  api::Pod pod;
  pod.metadata.namespace_ = controller.metadata.namespace_;
  pod.metadata.generate_name = controller.metadata.name + "-";
  if (controller.spec.template_) {
    const api::PodTemplateSpec& model = *controller.spec.template_;
    pod.metadata.labels = model.metadata.labels;
    pod.metadata.annotations = model.metadata.annotations;
    pod.metadata.finalizers = model.metadata.finalizers;
    pod.spec = model.spec;
  }
  pod.metadata.owner_references.push_back({.api_version = std::string(api::ReplicationController::kApiVersion),
                                           .kind = std::string(api::ReplicationController::kKind),
                                           .name = controller.metadata.name,
                                           .uid = controller.metadata.uid,
                                           .controller = true,
                                           .block_owner_deletion = true});
  return pod;
}

std::string generated_name(std::string_view base, uint64_t random) {
  // Without vowels and what looks like them: no words come about (apimachinery's util/rand).
  constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  constexpr size_t kLongestBase = 58;
  std::string name(base.substr(0, kLongestBase - 1));
  if (!name.ends_with('-')) name += '-';
  for (int i = 0; i < 5; ++i, random /= kAlphabet.size()) name += kAlphabet[random % kAlphabet.size()];
  return name;
}

ReplicaStatus status_of(const api::ReplicationController& controller, const std::vector<PodPtr>& own,
                        const std::optional<ReplicaFailure>& failure, int64_t now) {
  ReplicaStatus result;
  api::ReplicationControllerStatus& status = result.status;
  const int64_t min_ready = controller.spec.min_ready_seconds.value_or(0);
  int32_t labelled = 0, ready = 0, available = 0;
  for (const PodPtr& pod : own) {
    ++status.replicas;
    if (controller.spec.template_ && api::matches(controller.spec.template_->metadata.labels, pod->metadata.labels)) {
      ++labelled;
    }
    if (!is_ready(*pod)) continue;
    ++ready;
    if (is_available(*pod, min_ready, now)) {
      ++available;
    } else if (const int64_t since = ready_since(*pod); since != 0) {
      const int64_t when = since + min_ready;
      result.next_available = std::min(result.next_available.value_or(when), when);
    }
  }
  status.fully_labeled_replicas = labelled;
  status.ready_replicas = ready;
  status.available_replicas = available;
  status.observed_generation = controller.metadata.generation.value_or(0);
  status.conditions = controller.status.conditions;
  set_failure(status.conditions, failure, now);
  return result;
}

std::string status_patch(const api::ReplicationControllerStatus& status) {
  std::string conditions = "null";
  if (!status.conditions.empty()) {
    conditions = "[";
    for (const api::ReplicationControllerCondition& condition : status.conditions) {
      if (conditions.size() > 1) conditions += ',';
      conditions += fmt::format(R"({{"type":{},"status":{})", api::json_string(condition.type),
                                api::json_string(condition.status));
      if (condition.last_transition_time) {
        conditions += fmt::format(R"(,"lastTransitionTime":"{}")", api::to_string(*condition.last_transition_time));
      }
      conditions += fmt::format(R"(,"reason":{},"message":{}}})", api::json_string(condition.reason),
                                api::json_string(condition.message));
    }
    conditions += ']';
  }
  // Zero is left out as Kubernetes leaves it out, which in a patch is null.
  const auto number = [](int64_t value) { return value == 0 ? std::string("null") : std::to_string(value); };
  return fmt::format(R"({{"status":{{"replicas":{},"fullyLabeledReplicas":{},"readyReplicas":{},)"
                     R"("availableReplicas":{},"observedGeneration":{},"conditions":{}}}}})",
                     status.replicas, number(status.fully_labeled_replicas.value_or(0)),
                     number(status.ready_replicas.value_or(0)), number(status.available_replicas.value_or(0)),
                     number(status.observed_generation.value_or(0)), conditions);
}

}  // namespace keelson::controllers
