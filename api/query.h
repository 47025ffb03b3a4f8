#pragma once
// The query parameters labelSelector and fieldSelector: Kubernetes' syntax, its
// errors, and what they match.
//
// Pure functions over values; safe on every thread. Source: apimachinery's
// pkg/labels and pkg/fields, and the field labels of each kind's registry.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/resource.h"
#include "host/error.h"

namespace keelson::api {

struct LabelRequirement {
  enum class Operator : uint8_t { in, not_in, exists, does_not_exist, greater, less };
  std::string key;
  Operator op = Operator::exists;
  std::vector<std::string> values;  // sorted
  bool operator==(const LabelRequirement&) const = default;
};

// "app=web,tier in (a,b),!old,size>3". An empty text matches all.
struct LabelQuery {
  std::vector<LabelRequirement> requirements;

  bool matches(const std::map<std::string, std::string>& labels) const;
  bool empty() const { return requirements.empty(); }
  bool operator==(const LabelQuery&) const = default;
};
// The error's text is what Kubernetes answers with 400.
host::Result<LabelQuery> parse_label_query(std::string_view text);
LabelQuery query_of(const LabelSelector& selector);
// As Scale's status.selector and `kubectl describe` print it.
std::string to_string(const LabelQuery& query);

struct FieldRequirement {
  std::string field;
  bool equal = true;  // "=" and "==", or "!="
  std::string value;
  bool operator==(const FieldRequirement&) const = default;
};

struct FieldQuery {
  std::vector<FieldRequirement> requirements;

  bool matches(const AnyObject& object) const;
  bool empty() const { return requirements.empty(); }
  // The value that a field must have, for an index; null when none is asked for.
  const std::string* value_of(std::string_view field) const;
};
// Fails as well for a field that this kind cannot be selected by.
host::Result<FieldQuery> parse_field_query(const Resource& resource, std::string_view text);
// The text of a field by its path, as selectors compare it; "" when it is absent.
std::string field_text(const AnyObject& object, std::string_view path);

}  // namespace keelson::api
