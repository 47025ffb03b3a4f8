#pragma once
// Which fields somebody owns: FieldsV1, and what changed between two trees, in the
// terms of the types (structured-merge-diff's fieldpath and typed packages).

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/draft.h"
#include "api/schema.h"

namespace keelson::api {

// A node of the tree of paths; its children by FieldsV1's path elements: "f:spec",
// `k:{"name":"web"}`, `v:"a/b"`.
struct FieldSet {
  bool owned = false;
  std::map<std::string, FieldSet, std::less<>> children;

  bool empty() const { return !owned && children.empty(); }
  const FieldSet* find(std::string_view element) const;
  void unite(const FieldSet& other);
  void subtract(const FieldSet& other);
  bool operator==(const FieldSet&) const = default;
};

// What is in both, as conflicts print it: `.spec.containers[name="web"].image`.
std::vector<std::string> common_paths(const FieldSet& left, const FieldSet& right);

std::string to_fields_v1(const FieldSet& set);
// Nothing when it is no FieldsV1.
std::optional<FieldSet> parse_fields_v1(std::string_view json);

// Where in an object a value stands, and so how it is merged.
struct Spot {
  const Type* type = nullptr;    // of the struct that it is
  const Field* field = nullptr;  // of which it is the value, or
  bool element = false;          // an item of the field's list or map

  enum class Form : uint8_t { leaf, object, keyed, set };
  Form form(const Draft& value) const;
};

struct Child {
  std::string element;  // of the path
  Draft* value = nullptr;
  Spot spot;
};
// Of a value that is no leaf.
std::vector<Child> children_of(const Spot& spot, const Draft& value);

// The fields that an applied configuration speaks of.
FieldSet fields_of(const Spot& spot, const Draft& value);

struct Changes {
  FieldSet changed;  // added or another value
  FieldSet removed;
};
Changes compare(const Spot& spot, const Draft& before, const Draft& after);

// to_fields_v1(compare(spot, hollow, value).changed), for what every creation needs: `hollow` has
// structs and nulls only.
std::string fields_v1_of_new(const Spot& spot, const Draft& hollow, const Draft& value);

}  // namespace keelson::api
