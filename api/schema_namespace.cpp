// The tables of namespace.h.
#include "api/namespace.h"

#include "api/schema.h"

namespace keelson::api {

template <>
const Type& type_of<NamespaceSpec>() {
  static constexpr Field kFields[] = {
      field<&NamespaceSpec::finalizers>(1, "finalizers").atomic(),
  };
  static constexpr Type kType{.name = "NamespaceSpec", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<NamespaceCondition>() {
  static constexpr Field kFields[] = {
      field<&NamespaceCondition::type>(1, "type").needed(),
      field<&NamespaceCondition::status>(2, "status").needed(),
      field<&NamespaceCondition::last_transition_time>(4, "lastTransitionTime").null_if_absent(),
      field<&NamespaceCondition::reason>(5, "reason"),
      field<&NamespaceCondition::message>(6, "message"),
  };
  static constexpr Type kType{.name = "NamespaceCondition", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<NamespaceStatus>() {
  static constexpr Field kFields[] = {
      field<&NamespaceStatus::phase>(1, "phase"),
      field<&NamespaceStatus::conditions>(2, "conditions").keyed_by("type").merged_by("type"),
  };
  static constexpr Type kType{.name = "NamespaceStatus", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<Namespace>() {
  static constexpr Field kFields[] = {
      field<&Namespace::metadata>(1, "metadata"),
      field<&Namespace::spec>(2, "spec"),
      field<&Namespace::status>(3, "status"),
  };
  static constexpr Type kType{.name = "Namespace", .fields = kFields, .has_type_meta = true};
  return kType;
}

}  // namespace keelson::api
