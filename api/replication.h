#pragma once
// ReplicationController, and the scale of what has replicas.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/meta.h"
#include "api/pod.h"

namespace keelson::api {

struct PodTemplateSpec {
  ObjectMeta metadata;
  PodSpec spec;
  bool operator==(const PodTemplateSpec&) const = default;
};

struct ReplicationControllerSpec {
  std::optional<int32_t> replicas;
  std::optional<int32_t> min_ready_seconds;
  std::map<std::string, std::string> selector;
  Box<PodTemplateSpec> template_;
  bool operator==(const ReplicationControllerSpec&) const = default;
};

struct ReplicationControllerCondition {
  std::string type;
  std::string status;
  std::optional<Time> last_transition_time;
  std::string reason;
  std::string message;
  bool operator==(const ReplicationControllerCondition&) const = default;
};

struct ReplicationControllerStatus {
  int32_t replicas = 0;
  std::optional<int32_t> fully_labeled_replicas;
  std::optional<int32_t> ready_replicas;
  std::optional<int32_t> available_replicas;
  std::optional<int64_t> observed_generation;
  std::vector<ReplicationControllerCondition> conditions;
  bool operator==(const ReplicationControllerStatus&) const = default;
};

struct ReplicationController {
  static constexpr std::string_view kKind = "ReplicationController";
  static constexpr std::string_view kApiVersion = "v1";
  ObjectMeta metadata;
  ReplicationControllerSpec spec;
  ReplicationControllerStatus status;
  bool operator==(const ReplicationController&) const = default;
};

struct ScaleSpec {
  std::optional<int32_t> replicas;
  bool operator==(const ScaleSpec&) const = default;
};

struct ScaleStatus {
  int32_t replicas = 0;
  std::string selector;
  bool operator==(const ScaleStatus&) const = default;
};

struct Scale {
  static constexpr std::string_view kKind = "Scale";
  static constexpr std::string_view kApiVersion = "autoscaling/v1";
  ObjectMeta metadata;
  ScaleSpec spec;
  ScaleStatus status;
  bool operator==(const Scale&) const = default;
};

}  // namespace keelson::api
