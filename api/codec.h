#pragma once
// Objects to and from JSON and YAML, driven by the one description of each type
// (schema.h). Hostile input is expected: depth (64), size and alias expansion are
// bounded, nothing throws.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/object.h"
#include "host/error.h"

namespace keelson::api {

struct Decoded {
  Object object;
  int line = 0;                   // where the object starts, 1-based
  std::vector<Problem> warnings;  // unknown fields by path; fields read but not acted on come from validate.h
  std::vector<std::pair<std::string, int>> field_lines;  // by path, sorted

  // Where a field stands, as validate() names it; of one that is missing, where
  // the closest one around it stands.
  int line_of(std::string_view field) const;
};

// What one manifest file, URL body or etcd value holds.
struct Manifest {
  std::vector<Decoded> objects;   // Lists are taken apart
  std::vector<Problem> problems;  // documents that could not be read; the others stand
};

// YAML of several documents, JSON, a List of either. Problems and warnings carry
// line and field path; their origin.source and .document are the caller's to fill.
Manifest decode_manifest(std::string_view text);

// One object of the kind asked for; kind and apiVersion may be absent. Unknown
// fields are ignored here.
template <typename T>
host::Result<T> decode_json(std::string_view text);  // every kind of resource.h, Status and WatchEvent
template <typename T>
std::string encode_json(const T& object);  // one line; kind and apiVersion first
std::string encode_json(const Object& object);

// {"kind":"PodList","apiVersion":"v1","metadata":{},"items":[…]}
template <typename T>
std::string encode_json_list(const std::vector<T>& objects);

// Protobuf as the API server speaks it: "k8s\0", runtime.Unknown, the object.
template <typename T>
host::Result<T> decode_protobuf(std::string_view bytes);
template <typename T>
std::string encode_protobuf(const T& object);

// Any JSON text as YAML, block style, for -o yaml.
host::Result<std::string> json_to_yaml(std::string_view json);

}  // namespace keelson::api
