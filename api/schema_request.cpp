// The tables of request.h.
#include "api/request.h"

#include "api/schema.h"

namespace keelson::api {

template <>
const Type& type_of<Preconditions>() {
  static constexpr Field kFields[] = {
      field<&Preconditions::uid>(1, "uid"),
      field<&Preconditions::resource_version>(2, "resourceVersion"),
  };
  static constexpr Type kType{.name = "Preconditions", .fields = kFields, .package = "apis.meta.v1"};
  return kType;
}

template <>
const Type& type_of<DeleteOptions>() {
  static constexpr Field kFields[] = {
      field<&DeleteOptions::grace_period_seconds>(1, "gracePeriodSeconds"),
      field<&DeleteOptions::preconditions>(2, "preconditions"),
      field<&DeleteOptions::orphan_dependents>(3, "orphanDependents"),
      field<&DeleteOptions::propagation_policy>(4, "propagationPolicy"),
      field<&DeleteOptions::dry_run>(5, "dryRun").atomic(),
      field<&DeleteOptions::ignore_store_read_error_with_cluster_breaking_potential>(
          6, "ignoreStoreReadErrorWithClusterBreakingPotential"),
  };
  static constexpr Type kType{
      .name = "DeleteOptions", .fields = kFields, .package = "apis.meta.v1", .has_type_meta = true};
  return kType;
}

template <>
const Type& type_of<Binding>() {
  static constexpr Field kFields[] = {
      field<&Binding::metadata>(1, "metadata"),
      field<&Binding::target>(2, "target").needed(),
  };
  static constexpr Type kType{.name = "Binding", .fields = kFields, .has_type_meta = true};
  return kType;
}

template <>
const Type& type_of<Eviction>() {
  static constexpr Field kFields[] = {
      field<&Eviction::metadata>(1, "metadata"),
      field<&Eviction::delete_options>(2, "deleteOptions"),
  };
  static constexpr Type kType{.name = "Eviction", .fields = kFields, .package = "policy.v1", .has_type_meta = true};
  return kType;
}

template <>
const Type& type_of<WatchEvent>() {
  static constexpr Field kFields[] = {
      field<&WatchEvent::type>(1, "type"),
      field<&WatchEvent::object>(2, "object"),
  };
  static constexpr Type kType{
      .name = "WatchEvent", .fields = kFields, .package = "apis.meta.v1", .has_type_meta = true};
  return kType;
}

}  // namespace keelson::api
