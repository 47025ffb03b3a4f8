#pragma once
// Any object that a manifest may hold, and what the agent is asked to bring about.

#include <compare>
#include <string>
#include <variant>
#include <vector>

#include "api/config.h"
#include "api/pod.h"
#include "api/service.h"

namespace keelson::api {

using Object = std::variant<Pod, Service, Endpoints, ConfigMap, Secret>;

struct ObjectKey {
  std::string kind;
  std::string namespace_;
  std::string name;
  auto operator<=>(const ObjectKey&) const = default;
};

ObjectKey key_of(const Object& object);       // an absent namespace is "default"
std::string to_string(const ObjectKey& key);  // "Pod default/web"
ObjectMeta& metadata_of(Object& object);
const ObjectMeta& metadata_of(const Object& object);

// Where in its source an object (or an error) stands.
struct Origin {
  std::string source;    // "file", "url", "push", "etcd", "apiserver"
  std::string document;  // path, URL or key
  int line = 0;          // 1-based; 0 when it has none
  bool operator==(const Origin&) const = default;
};
std::string to_string(const Origin& origin);  // "file /etc/keelson/manifests/web.yaml:12"

// What is wrong with a manifest, in the place where the user must mend it.
struct Problem {
  enum class Severity { warning, error };
  Severity severity = Severity::error;
  Origin origin;
  std::string object;  // "Pod default/web"; empty when it could not be read so far
  std::string field;   // "spec.containers[0].image"; empty for the whole document
  std::string message;
  bool operator==(const Problem&) const = default;
};

template <typename T>
struct Desired {
  T object;  // defaulted, valid, allowed by the source's policy; a Pod has its uid
  Origin origin;
  bool operator==(const Desired&) const = default;
};

// Everything that all sources together want on this node, always whole.
struct DesiredState {
  std::vector<Desired<Pod>> pods;
  std::vector<Desired<Service>> services;
  std::vector<Desired<Endpoints>> endpoints;
  std::vector<Desired<ConfigMap>> config_maps;
  std::vector<Desired<Secret>> secrets;
};

}  // namespace keelson::api
