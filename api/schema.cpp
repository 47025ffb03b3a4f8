#include "api/schema.h"

#include <algorithm>
#include <iterator>

namespace keelson::api {

const Field* find_field(const Type& type, std::string_view name, void*& object) {
  for (const Field& field : type.fields) {
    if (field.inlined) {
      void* inner = field.at(object);
      if (const Field* found = find_field(field.access->type(), name, inner)) {
        object = inner;
        return found;
      }
    } else if (field.name == name) {
      return &field;
    }
  }
  return nullptr;
}

const Field* find_field(const Type& type, std::string_view name) {
  for (const Field& field : type.fields) {
    if (field.inlined) {
      if (const Field* found = find_field(field.access->type(), name)) return found;
    } else if (field.name == name) {
      return &field;
    }
  }
  return nullptr;
}

bool is_atomic(const Type& type) {
  static constexpr std::string_view kAtomic[] = {
      "ConfigMapKeySelector", "LabelSelector",       "LocalObjectReference",     "NodeSelector",
      "NodeSelectorTerm",     "ObjectFieldSelector", "ObjectReference",          "ResourceFieldSelector",
      "SecretKeySelector",    "SecretReference",     "TypedLocalObjectReference"};
  return std::binary_search(std::begin(kAtomic), std::end(kAtomic), type.name);
}

namespace {

bool is_zero(Kind kind, const void* value) {
  switch (kind) {
    case Kind::string:
      return static_cast<const std::string*>(value)->empty();
    case Kind::boolean:
      return !*static_cast<const bool*>(value);
    case Kind::int32:
      return *static_cast<const int32_t*>(value) == 0;
    case Kind::int64:
      return *static_cast<const int64_t*>(value) == 0;
    case Kind::bytes:
      return static_cast<const Bytes*>(value)->data.empty();
    case Kind::quantity:
      return static_cast<const Quantity*>(value)->text.empty();
    case Kind::time:
      return static_cast<const Time*>(value)->seconds == 0;
    case Kind::micro_time:
      return static_cast<const MicroTime*>(value)->microseconds == 0;
    case Kind::int_or_string:
      return *static_cast<const IntOrString*>(value) == IntOrString{};
    case Kind::raw_json:
      return static_cast<const RawJson*>(value)->text.empty();
    case Kind::structure:
      break;
  }
  return false;
}

}  // namespace

bool is_empty(const Type& type, const void* object) {
  for (const Field& field : type.fields) {
    const void* member = field.look(object);
    const Access& access = *field.access;
    if (access.shape == Shape::list || access.shape == Shape::map) {
      if (access.size(member) != 0) return false;
    } else if (access.shape == Shape::optional) {
      if (access.get(member) != nullptr) return false;
    } else if (access.kind == Kind::structure) {
      if (!is_empty(access.type(), member)) return false;
    } else if (!is_zero(access.kind, member)) {
      return false;
    }
  }
  return true;
}

}  // namespace keelson::api
