#pragma once
// EndpointSlice (discovery.k8s.io).

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/meta.h"

namespace keelson::api {

struct EndpointConditions {
  std::optional<bool> ready;
  std::optional<bool> serving;
  std::optional<bool> terminating;
  bool operator==(const EndpointConditions&) const = default;
};

struct ForZone {
  std::string name;
  bool operator==(const ForZone&) const = default;
};

struct ForNode {
  std::string name;
  bool operator==(const ForNode&) const = default;
};

struct EndpointHints {
  std::vector<ForZone> for_zones;
  std::vector<ForNode> for_nodes;
  bool operator==(const EndpointHints&) const = default;
};

struct Endpoint {
  std::vector<std::string> addresses;
  EndpointConditions conditions;
  std::string hostname;
  Box<ObjectReference> target_ref;
  std::map<std::string, std::string> deprecated_topology;
  std::string node_name;
  std::string zone;
  Box<EndpointHints> hints;
  bool operator==(const Endpoint&) const = default;
};

struct EndpointSlicePort {
  std::string name;
  std::string protocol;
  std::optional<int32_t> port;
  std::string app_protocol;
  bool operator==(const EndpointSlicePort&) const = default;
};

struct EndpointSlice {
  static constexpr std::string_view kKind = "EndpointSlice";
  static constexpr std::string_view kApiVersion = "discovery.k8s.io/v1";
  ObjectMeta metadata;
  std::string address_type;
  std::vector<Endpoint> endpoints;
  std::vector<EndpointSlicePort> ports;
  bool operator==(const EndpointSlice&) const = default;
};

}  // namespace keelson::api
