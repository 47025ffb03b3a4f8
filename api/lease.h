#pragma once
// Lease (coordination.k8s.io): heartbeats of nodes, election of leaders.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "api/meta.h"

namespace keelson::api {

struct LeaseSpec {
  std::string holder_identity;
  std::optional<int32_t> lease_duration_seconds;
  std::optional<MicroTime> acquire_time;
  std::optional<MicroTime> renew_time;
  std::optional<int32_t> lease_transitions;
  std::string strategy;
  std::string preferred_holder;
  bool operator==(const LeaseSpec&) const = default;
};

struct Lease {
  static constexpr std::string_view kKind = "Lease";
  static constexpr std::string_view kApiVersion = "coordination.k8s.io/v1";
  ObjectMeta metadata;
  LeaseSpec spec;
  bool operator==(const Lease&) const = default;
};

}  // namespace keelson::api
