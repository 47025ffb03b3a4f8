#pragma once
// Metadata, references and Status: what every Kubernetes object carries (KEP-free facts: the v1 API).

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/value.h"

namespace keelson::api {

struct OwnerReference {
  std::string api_version;
  std::string kind;
  std::string name;
  std::string uid;
  std::optional<bool> controller;
  std::optional<bool> block_owner_deletion;
  bool operator==(const OwnerReference&) const = default;
};

struct ManagedFieldsEntry {
  std::string manager;
  std::string operation;
  std::string api_version;
  std::optional<Time> time;
  std::string fields_type;
  std::optional<RawJson> fields_v1;
  std::string subresource;
  bool operator==(const ManagedFieldsEntry&) const = default;
};

struct ObjectMeta {
  std::string name;
  std::string generate_name;
  std::string namespace_;
  std::string self_link;
  std::string uid;
  std::string resource_version;
  std::optional<int64_t> generation;
  std::optional<Time> creation_timestamp;
  std::optional<Time> deletion_timestamp;
  std::optional<int64_t> deletion_grace_period_seconds;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> annotations;
  std::vector<OwnerReference> owner_references;
  std::vector<std::string> finalizers;
  std::vector<ManagedFieldsEntry> managed_fields;
  bool operator==(const ObjectMeta&) const = default;
};

struct ShardInfo {
  std::string selector;
  bool operator==(const ShardInfo&) const = default;
};

struct ListMeta {
  std::string self_link;
  std::string resource_version;
  std::string continue_;
  std::optional<int64_t> remaining_item_count;
  Box<ShardInfo> shard_info;
  bool operator==(const ListMeta&) const = default;
};

struct StatusCause {
  std::string reason;
  std::string message;
  std::string field;
  bool operator==(const StatusCause&) const = default;
};

struct StatusDetails {
  std::string name;
  std::string group;
  std::string kind;
  std::string uid;
  std::vector<StatusCause> causes;
  std::optional<int32_t> retry_after_seconds;
  bool operator==(const StatusDetails&) const = default;
};

struct Status {
  static constexpr std::string_view kKind = "Status";
  static constexpr std::string_view kApiVersion = "v1";
  ListMeta metadata;
  std::string status;
  std::string message;
  std::string reason;
  Box<StatusDetails> details;
  std::optional<int32_t> code;
  bool operator==(const Status&) const = default;
};
// Kubernetes' word for what an HTTP status alone says ("NotFound"); empty when it has none. 409 is
// "Conflict" as long as nobody knows it for an "AlreadyExists".
std::string_view status_reason(int code);

struct LabelSelectorRequirement {
  std::string key;
  std::string operator_;
  std::vector<std::string> values;
  bool operator==(const LabelSelectorRequirement&) const = default;
};

struct LabelSelector {
  std::map<std::string, std::string> match_labels;
  std::vector<LabelSelectorRequirement> match_expressions;
  bool operator==(const LabelSelector&) const = default;
};

struct LocalObjectReference {
  std::string name;
  bool operator==(const LocalObjectReference&) const = default;
};

struct ObjectReference {
  std::string kind;
  std::string namespace_;
  std::string name;
  std::string uid;
  std::string api_version;
  std::string resource_version;
  std::string field_path;
  bool operator==(const ObjectReference&) const = default;
};

}  // namespace keelson::api
