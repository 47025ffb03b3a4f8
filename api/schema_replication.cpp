// The tables of replication.h.
#include "api/replication.h"

#include "api/schema.h"

namespace keelson::api {

template <>
const Type& type_of<PodSpec>();

template <>
const Type& type_of<PodTemplateSpec>() {
  static constexpr Field kFields[] = {
      field<&PodTemplateSpec::metadata>(1, "metadata"),
      field<&PodTemplateSpec::spec>(2, "spec"),
  };
  static constexpr Type kType{.name = "PodTemplateSpec", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<ReplicationControllerSpec>() {
  static constexpr Field kFields[] = {
      field<&ReplicationControllerSpec::replicas>(1, "replicas"),
      field<&ReplicationControllerSpec::min_ready_seconds>(4, "minReadySeconds").plain(),
      field<&ReplicationControllerSpec::selector>(2, "selector").atomic(),
      field<&ReplicationControllerSpec::template_>(3, "template"),
  };
  static constexpr Type kType{.name = "ReplicationControllerSpec", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<ReplicationControllerCondition>() {
  static constexpr Field kFields[] = {
      field<&ReplicationControllerCondition::type>(1, "type").needed(),
      field<&ReplicationControllerCondition::status>(2, "status").needed(),
      field<&ReplicationControllerCondition::last_transition_time>(3, "lastTransitionTime").null_if_absent(),
      field<&ReplicationControllerCondition::reason>(4, "reason"),
      field<&ReplicationControllerCondition::message>(5, "message"),
  };
  static constexpr Type kType{.name = "ReplicationControllerCondition", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<ReplicationControllerStatus>() {
  static constexpr Field kFields[] = {
      field<&ReplicationControllerStatus::replicas>(1, "replicas").needed(),
      field<&ReplicationControllerStatus::fully_labeled_replicas>(2, "fullyLabeledReplicas").plain(),
      field<&ReplicationControllerStatus::ready_replicas>(4, "readyReplicas").plain(),
      field<&ReplicationControllerStatus::available_replicas>(5, "availableReplicas").plain(),
      field<&ReplicationControllerStatus::observed_generation>(3, "observedGeneration").plain(),
      field<&ReplicationControllerStatus::conditions>(6, "conditions").keyed_by("type").merged_by("type"),
  };
  static constexpr Type kType{.name = "ReplicationControllerStatus", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<ReplicationController>() {
  static constexpr Field kFields[] = {
      field<&ReplicationController::metadata>(1, "metadata"),
      field<&ReplicationController::spec>(2, "spec"),
      field<&ReplicationController::status>(3, "status"),
  };
  static constexpr Type kType{.name = "ReplicationController", .fields = kFields, .has_type_meta = true};
  return kType;
}

template <>
const Type& type_of<ScaleSpec>() {
  static constexpr Field kFields[] = {
      field<&ScaleSpec::replicas>(1, "replicas").plain(),
  };
  static constexpr Type kType{.name = "ScaleSpec", .fields = kFields, .package = "autoscaling.v1"};
  return kType;
}

template <>
const Type& type_of<ScaleStatus>() {
  static constexpr Field kFields[] = {
      field<&ScaleStatus::replicas>(1, "replicas").needed(),
      field<&ScaleStatus::selector>(2, "selector"),
  };
  static constexpr Type kType{.name = "ScaleStatus", .fields = kFields, .package = "autoscaling.v1"};
  return kType;
}

template <>
const Type& type_of<Scale>() {
  static constexpr Field kFields[] = {
      field<&Scale::metadata>(1, "metadata"),
      field<&Scale::spec>(2, "spec"),
      field<&Scale::status>(3, "status"),
  };
  static constexpr Type kType{.name = "Scale", .fields = kFields, .package = "autoscaling.v1", .has_type_meta = true};
  return kType;
}

}  // namespace keelson::api
