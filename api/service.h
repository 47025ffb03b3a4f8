#pragma once
// Service and Endpoints.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/meta.h"

namespace keelson::api {

struct ServicePort {
  std::string name;
  std::string protocol;
  std::string app_protocol;
  int32_t port = 0;
  std::optional<IntOrString> target_port;
  std::optional<int32_t> node_port;
  bool operator==(const ServicePort&) const = default;
};

struct ClientIPConfig {
  std::optional<int32_t> timeout_seconds;
  bool operator==(const ClientIPConfig&) const = default;
};

struct SessionAffinityConfig {
  Box<ClientIPConfig> client_ip;
  bool operator==(const SessionAffinityConfig&) const = default;
};

struct ServiceSpec {
  std::vector<ServicePort> ports;
  std::map<std::string, std::string> selector;
  std::string cluster_ip;
  std::vector<std::string> cluster_ips;
  std::string type;
  std::vector<std::string> external_ips;
  std::string session_affinity;
  std::string load_balancer_ip;
  std::vector<std::string> load_balancer_source_ranges;
  std::string external_name;
  std::string external_traffic_policy;
  std::optional<int32_t> health_check_node_port;
  std::optional<bool> publish_not_ready_addresses;
  Box<SessionAffinityConfig> session_affinity_config;
  std::vector<std::string> ip_families;
  std::string ip_family_policy;
  std::optional<bool> allocate_load_balancer_node_ports;
  std::string load_balancer_class;
  std::string internal_traffic_policy;
  std::string traffic_distribution;
  bool operator==(const ServiceSpec&) const = default;
};

struct PortStatus {
  int32_t port = 0;
  std::string protocol;
  std::string error;
  bool operator==(const PortStatus&) const = default;
};

struct LoadBalancerIngress {
  std::string ip;
  std::string hostname;
  std::string ip_mode;
  std::vector<PortStatus> ports;
  bool operator==(const LoadBalancerIngress&) const = default;
};

struct LoadBalancerStatus {
  std::vector<LoadBalancerIngress> ingress;
  bool operator==(const LoadBalancerStatus&) const = default;
};

struct Condition {
  std::string type;
  std::string status;
  std::optional<int64_t> observed_generation;
  Time last_transition_time;
  std::string reason;
  std::string message;
  bool operator==(const Condition&) const = default;
};

struct ServiceStatus {
  LoadBalancerStatus load_balancer;
  std::vector<Condition> conditions;
  bool operator==(const ServiceStatus&) const = default;
};

struct Service {
  static constexpr std::string_view kKind = "Service";
  static constexpr std::string_view kApiVersion = "v1";
  ObjectMeta metadata;
  ServiceSpec spec;
  ServiceStatus status;
  bool operator==(const Service&) const = default;
};

struct EndpointAddress {
  std::string ip;
  std::string hostname;
  std::string node_name;
  Box<ObjectReference> target_ref;
  bool operator==(const EndpointAddress&) const = default;
};

struct EndpointPort {
  std::string name;
  int32_t port = 0;
  std::string protocol;
  std::string app_protocol;
  bool operator==(const EndpointPort&) const = default;
};

struct EndpointSubset {
  std::vector<EndpointAddress> addresses;
  std::vector<EndpointAddress> not_ready_addresses;
  std::vector<EndpointPort> ports;
  bool operator==(const EndpointSubset&) const = default;
};

struct Endpoints {
  static constexpr std::string_view kKind = "Endpoints";
  static constexpr std::string_view kApiVersion = "v1";
  ObjectMeta metadata;
  std::vector<EndpointSubset> subsets;
  bool operator==(const Endpoints&) const = default;
};

}  // namespace keelson::api
