// The tables of lease.h.
#include "api/lease.h"

#include "api/schema.h"

namespace keelson::api {

template <>
const Type& type_of<LeaseSpec>() {
  static constexpr Field kFields[] = {
      field<&LeaseSpec::holder_identity>(1, "holderIdentity"),
      field<&LeaseSpec::lease_duration_seconds>(2, "leaseDurationSeconds"),
      field<&LeaseSpec::acquire_time>(3, "acquireTime"),
      field<&LeaseSpec::renew_time>(4, "renewTime"),
      field<&LeaseSpec::lease_transitions>(5, "leaseTransitions"),
      field<&LeaseSpec::strategy>(6, "strategy"),
      field<&LeaseSpec::preferred_holder>(7, "preferredHolder"),
  };
  static constexpr Type kType{.name = "LeaseSpec", .fields = kFields, .package = "coordination.v1"};
  return kType;
}

template <>
const Type& type_of<Lease>() {
  static constexpr Field kFields[] = {
      field<&Lease::metadata>(1, "metadata"),
      field<&Lease::spec>(2, "spec"),
  };
  static constexpr Type kType{.name = "Lease", .fields = kFields, .package = "coordination.v1", .has_type_meta = true};
  return kType;
}

}  // namespace keelson::api
