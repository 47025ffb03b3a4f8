#pragma once
// What is posted to subresources, and the options of a deletion: kinds that are never stored.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/meta.h"

namespace keelson::api {

struct Preconditions {
  std::string uid;
  std::string resource_version;
  bool operator==(const Preconditions&) const = default;
};

struct DeleteOptions {
  static constexpr std::string_view kKind = "DeleteOptions";
  static constexpr std::string_view kApiVersion = "v1";
  std::optional<int64_t> grace_period_seconds;
  Box<Preconditions> preconditions;
  std::optional<bool> orphan_dependents;
  std::string propagation_policy;
  std::vector<std::string> dry_run;
  std::optional<bool> ignore_store_read_error_with_cluster_breaking_potential;
  bool operator==(const DeleteOptions&) const = default;
};

struct Binding {
  static constexpr std::string_view kKind = "Binding";
  static constexpr std::string_view kApiVersion = "v1";
  ObjectMeta metadata;
  ObjectReference target;
  bool operator==(const Binding&) const = default;
};

struct Eviction {
  static constexpr std::string_view kKind = "Eviction";
  static constexpr std::string_view kApiVersion = "policy/v1";
  ObjectMeta metadata;
  Box<DeleteOptions> delete_options;
  bool operator==(const Eviction&) const = default;
};

struct WatchEvent {
  static constexpr std::string_view kKind = "";
  static constexpr std::string_view kApiVersion = "";
  std::string type;
  RawJson object;
  bool operator==(const WatchEvent&) const = default;
};

}  // namespace keelson::api
