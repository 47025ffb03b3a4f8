#pragma once
// The one description of each API type. The JSON, YAML and protobuf codecs,
// OpenAPI and patches are driven by it. Tables live in schema_<header>.cpp,
// in the order in which Kubernetes prints the fields.
//
// Types are erased: a codec walks a Type with a pointer to the struct and never
// names it. All tables are constant data; reading them is safe on every thread.
// Source: the v1 API types and their generated protobuf and OpenAPI descriptions.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "api/meta.h"
#include "api/value.h"

namespace keelson::api {

struct Type;
// Declared for every struct of the API, defined beside its table.
template <typename T>
const Type& type_of();

enum class Kind : uint8_t {
  string,
  boolean,
  int32,
  int64,
  bytes,          // Bytes
  quantity,       // Quantity
  time,           // Time
  micro_time,     // MicroTime
  int_or_string,  // IntOrString
  raw_json,       // RawJson
  structure,      // Field::type() says which
};

enum class Shape : uint8_t { one, optional, list, map };

// How a member of one C++ type is reached, whatever its struct. `member` points
// at the member; what is returned points at a value of the member's Kind.
struct Access {
  Kind kind = Kind::string;
  Shape shape = Shape::one;
  const Type& (*type)() = nullptr;                                  // of a structure
  const void* (*get)(const void* member) = nullptr;                 // one, optional: null when absent
  void* (*make)(void* member) = nullptr;                            // one, optional: present from now on
  void (*reset)(void* member) = nullptr;                            // optional: absent; list, map: empty
  size_t (*size)(const void* member) = nullptr;                     // list, map
  const void* (*item)(const void* member, size_t index) = nullptr;  // list
  void* (*append)(void* member) = nullptr;                          // list: a new last item
  void* (*entry)(void* member, std::string key) = nullptr;          // map: found or made
  // map: in the order of the keys
  void (*each)(const void* member, void* context,
               void (*visit)(void* context, const std::string& key, const void* value)) = nullptr;
};

// What is printed when a field holds nothing, as Go's json package does it.
enum class Empty : uint8_t {
  omitted,  // absent, "", [] and {} are left out (omitempty; pointers)
  printed,  // the zero value is printed: "", 0, false, {}, null for a list (no omitempty; structs by value)
  null,     // a time by value prints null
  plain,    // a number or bool by value with omitempty: 0 and false are left out too
};

struct Field {
  std::string_view name;  // in JSON; of an inlined struct only a name for paths
  uint16_t number = 0;    // in protobuf
  const Access* access = nullptr;
  void* (*at)(void* object) = nullptr;
  const void* (*look)(const void* object) = nullptr;
  Empty empty = Empty::omitted;
  bool inlined = false;             // its fields stand beside their siblings in JSON, nested in protobuf
  bool required = false;            // in OpenAPI's sense
  bool retain_keys = false;         // patch strategy "merge,retainKeys"
  bool merges = false;              // patch strategy "merge"
  std::string_view merge_key = {};  // patchMergeKey
  std::string_view list_type = {};  // "atomic", "set", "map"; for maps and structs "atomic" or "granular"
  std::string_view list_keys = {};  // of listType=map: "containerPort,protocol"

  // Builders, so that a table line reads as one sentence.
  constexpr Field needed() const {
    Field f = printed();
    f.required = true;
    return f;
  }
  constexpr Field printed() const { return when_empty(Empty::printed); }
  constexpr Field plain() const { return when_empty(Empty::plain); }
  constexpr Field null_if_absent() const { return when_empty(Empty::null); }
  constexpr Field pointer() const { return when_empty(Empty::omitted); }  // a struct by value here, by pointer in Go
  constexpr Field inline_struct() const {
    Field f = *this;
    f.inlined = true;
    return f;
  }
  constexpr Field atomic() const { return of_type("atomic"); }
  constexpr Field granular() const { return of_type("granular"); }
  constexpr Field set() const { return of_type("set"); }
  constexpr Field keyed_by(std::string_view keys) const {
    Field f = of_type("map");
    f.list_keys = keys;
    return f;
  }
  constexpr Field merged() const { return merged_by({}); }
  constexpr Field merged_by(std::string_view key) const {
    Field f = *this;
    f.merges = true;
    f.merge_key = key;
    return f;
  }
  constexpr Field retaining_keys() const {
    Field f = *this;
    f.retain_keys = true;
    return f;
  }

 private:
  constexpr Field when_empty(Empty value) const {
    Field f = *this;
    f.empty = value;
    return f;
  }
  constexpr Field of_type(std::string_view type) const {
    Field f = *this;
    f.list_type = type;
    return f;
  }
};

struct Type {
  std::string_view name;  // Kubernetes' name of the struct
  std::span<const Field> fields;
  std::string_view package = "core.v1";  // as in io.k8s.api.core.v1.Pod; "apis.meta.v1" is apimachinery's
  bool has_type_meta = false;            // a kind of its own: may carry kind and apiVersion
};

// The field of that JSON name, those of inlined structs included: `object` is
// moved to the struct that holds it. Null when there is none.
const Field* find_field(const Type& type, std::string_view name, void*& object);
const Field* find_field(const Type& type, std::string_view name);

// Whether the struct is changed and owned only as a whole (structType=atomic of the type itself).
bool is_atomic(const Type& type);

// Whether the struct holds nothing at all, and so could as well be absent.
bool is_empty(const Type& type, const void* object);

namespace schema_detail {

template <typename T>
struct Scalar {
  static constexpr Kind kind = Kind::structure;
};
template <>
struct Scalar<std::string> {
  static constexpr Kind kind = Kind::string;
};
template <>
struct Scalar<bool> {
  static constexpr Kind kind = Kind::boolean;
};
template <>
struct Scalar<int32_t> {
  static constexpr Kind kind = Kind::int32;
};
template <>
struct Scalar<int64_t> {
  static constexpr Kind kind = Kind::int64;
};
template <>
struct Scalar<Bytes> {
  static constexpr Kind kind = Kind::bytes;
};
template <>
struct Scalar<Quantity> {
  static constexpr Kind kind = Kind::quantity;
};
template <>
struct Scalar<Time> {
  static constexpr Kind kind = Kind::time;
};
template <>
struct Scalar<MicroTime> {
  static constexpr Kind kind = Kind::micro_time;
};
template <>
struct Scalar<IntOrString> {
  static constexpr Kind kind = Kind::int_or_string;
};
template <>
struct Scalar<RawJson> {
  static constexpr Kind kind = Kind::raw_json;
};

template <typename T>
constexpr auto type_getter() -> const Type& (*)() {
  if constexpr (Scalar<T>::kind == Kind::structure) return &type_of<T>;
  return nullptr;
}

template <typename M>
struct AccessOf {
  static constexpr Access make() {
    return {.kind = Scalar<M>::kind,
            .shape = Shape::one,
            .type = type_getter<M>(),
            .get = [](const void* member) { return member; },
            .make = [](void* member) { return member; }};
  }
};

template <typename Optional, typename T>
constexpr Access optional_access() {
  return {.kind = Scalar<T>::kind,
          .shape = Shape::optional,
          .type = type_getter<T>(),
          .get = [](const void* member) -> const void* {
            const auto& optional = *static_cast<const Optional*>(member);
            return optional.has_value() ? &*optional : nullptr;
          },
          .make = [](void* member) -> void* {
            auto& optional = *static_cast<Optional*>(member);
            if (!optional.has_value()) optional.emplace();
            return &*optional;
          },
          .reset = [](void* member) { static_cast<Optional*>(member)->reset(); }};
}
template <typename T>
struct AccessOf<std::optional<T>> {
  static constexpr Access make() { return optional_access<std::optional<T>, T>(); }
};
template <typename T>
struct AccessOf<Box<T>> {
  static constexpr Access make() { return optional_access<Box<T>, T>(); }
};

template <typename T>
struct AccessOf<std::vector<T>> {
  using List = std::vector<T>;
  static constexpr Access make() {
    return {.kind = Scalar<T>::kind,
            .shape = Shape::list,
            .type = type_getter<T>(),
            .reset = [](void* member) { static_cast<List*>(member)->clear(); },
            .size = [](const void* member) { return static_cast<const List*>(member)->size(); },
            .item = [](const void* member, size_t index) -> const void* {
              return &(*static_cast<const List*>(member))[index];
            },
            .append = [](void* member) -> void* { return &static_cast<List*>(member)->emplace_back(); }};
  }
};

template <typename T>
struct AccessOf<std::map<std::string, T>> {
  using Map = std::map<std::string, T>;
  static constexpr Access make() {
    return {
        .kind = Scalar<T>::kind,
        .shape = Shape::map,
        .type = type_getter<T>(),
        .reset = [](void* member) { static_cast<Map*>(member)->clear(); },
        .size = [](const void* member) { return static_cast<const Map*>(member)->size(); },
        .entry = [](void* member, std::string key) -> void* { return &(*static_cast<Map*>(member))[std::move(key)]; },
        .each =
            [](const void* member, void* context, void (*visit)(void*, const std::string&, const void*)) {
              for (const auto& [key, value] : *static_cast<const Map*>(member)) visit(context, key, &value);
            }};
  }
};

template <typename M>
inline constexpr Access kAccess = AccessOf<M>::make();

template <typename C, typename M>
C owner_of(M C::*);
template <typename C, typename M>
M member_of(M C::*);

}  // namespace schema_detail

// One line of a table: field<&ContainerPort::host_port>(2, "hostPort"). A struct
// held by value is printed even when it is empty, as Go does.
template <auto member>
constexpr Field field(uint16_t number, std::string_view name) {
  using Owner = decltype(schema_detail::owner_of(member));
  using Member = decltype(schema_detail::member_of(member));
  constexpr bool by_value =
      schema_detail::Scalar<Member>::kind == Kind::structure && schema_detail::kAccess<Member>.shape == Shape::one;
  return {.name = name,
          .number = number,
          .access = &schema_detail::kAccess<Member>,
          .at = [](void* object) -> void* { return &(static_cast<Owner*>(object)->*member); },
          .look = [](const void* object) -> const void* { return &(static_cast<const Owner*>(object)->*member); },
          .empty = by_value ? Empty::printed : Empty::omitted};
}

// Those that several tables share.
template <>
const Type& type_of<ObjectMeta>();
template <>
const Type& type_of<ListMeta>();
template <>
const Type& type_of<LabelSelector>();
template <>
const Type& type_of<LocalObjectReference>();
template <>
const Type& type_of<ObjectReference>();

}  // namespace keelson::api
