#pragma once
// Namespace.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/meta.h"

namespace keelson::api {

struct NamespaceSpec {
  std::vector<std::string> finalizers;
  bool operator==(const NamespaceSpec&) const = default;
};

struct NamespaceCondition {
  std::string type;
  std::string status;
  std::optional<Time> last_transition_time;
  std::string reason;
  std::string message;
  bool operator==(const NamespaceCondition&) const = default;
};

struct NamespaceStatus {
  std::string phase;
  std::vector<NamespaceCondition> conditions;
  bool operator==(const NamespaceStatus&) const = default;
};

struct Namespace {
  static constexpr std::string_view kKind = "Namespace";
  static constexpr std::string_view kApiVersion = "v1";
  ObjectMeta metadata;
  NamespaceSpec spec;
  NamespaceStatus status;
  bool operator==(const Namespace&) const = default;
};

}  // namespace keelson::api
