#pragma once
// Node: a machine that runs Pods.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/meta.h"

namespace keelson::api {

struct Taint {
  std::string key;
  std::string value;
  std::string effect;
  std::optional<Time> time_added;
  bool operator==(const Taint&) const = default;
};

struct ConfigMapNodeConfigSource {
  std::string namespace_;
  std::string name;
  std::string uid;
  std::string resource_version;
  std::string kubelet_config_key;
  bool operator==(const ConfigMapNodeConfigSource&) const = default;
};

struct NodeConfigSource {
  Box<ConfigMapNodeConfigSource> config_map;
  bool operator==(const NodeConfigSource&) const = default;
};

struct NodePodPreemptionPolicy {
  std::vector<std::string> disable_resize_preemption;
  bool operator==(const NodePodPreemptionPolicy&) const = default;
};

struct NodeSpec {
  std::string pod_cidr;
  std::vector<std::string> pod_cidrs;
  std::string provider_id;
  std::optional<bool> unschedulable;
  std::vector<Taint> taints;
  Box<NodeConfigSource> config_source;
  std::string external_id;
  Box<NodePodPreemptionPolicy> pod_preemption_policy;
  bool operator==(const NodeSpec&) const = default;
};

struct NodeCondition {
  std::string type;
  std::string status;
  std::optional<Time> last_heartbeat_time;
  std::optional<Time> last_transition_time;
  std::string reason;
  std::string message;
  bool operator==(const NodeCondition&) const = default;
};

struct NodeAddress {
  std::string type;
  std::string address;
  bool operator==(const NodeAddress&) const = default;
};

struct DaemonEndpoint {
  int32_t port = 0;
  bool operator==(const DaemonEndpoint&) const = default;
};

struct NodeDaemonEndpoints {
  DaemonEndpoint kubelet_endpoint;
  bool operator==(const NodeDaemonEndpoints&) const = default;
};

struct NodeSwapStatus {
  std::optional<int64_t> capacity;
  bool operator==(const NodeSwapStatus&) const = default;
};

struct NodeSystemInfo {
  std::string machine_id;
  std::string system_uuid;
  std::string boot_id;
  std::string kernel_version;
  std::string os_image;
  std::string container_runtime_version;
  std::string kubelet_version;
  std::string kube_proxy_version;
  std::string operating_system;
  std::string architecture;
  Box<NodeSwapStatus> swap;
  bool operator==(const NodeSystemInfo&) const = default;
};

struct ContainerImage {
  std::vector<std::string> names;
  std::optional<int64_t> size_bytes;
  bool operator==(const ContainerImage&) const = default;
};

struct AttachedVolume {
  std::string name;
  std::string device_path;
  bool operator==(const AttachedVolume&) const = default;
};

struct NodeConfigStatus {
  Box<NodeConfigSource> assigned;
  Box<NodeConfigSource> active;
  Box<NodeConfigSource> last_known_good;
  std::string error;
  bool operator==(const NodeConfigStatus&) const = default;
};

struct NodeRuntimeHandlerFeatures {
  std::optional<bool> recursive_read_only_mounts;
  std::optional<bool> user_namespaces;
  bool operator==(const NodeRuntimeHandlerFeatures&) const = default;
};

struct NodeRuntimeHandler {
  std::string name;
  Box<NodeRuntimeHandlerFeatures> features;
  bool operator==(const NodeRuntimeHandler&) const = default;
};

struct NodeFeatures {
  std::optional<bool> supplemental_groups_policy;
  bool operator==(const NodeFeatures&) const = default;
};

struct NodeStatus {
  std::map<std::string, Quantity> capacity;
  std::map<std::string, Quantity> allocatable;
  std::string phase;
  std::vector<NodeCondition> conditions;
  std::vector<NodeAddress> addresses;
  NodeDaemonEndpoints daemon_endpoints;
  NodeSystemInfo node_info;
  std::vector<ContainerImage> images;
  std::vector<std::string> volumes_in_use;
  std::vector<AttachedVolume> volumes_attached;
  Box<NodeConfigStatus> config;
  std::vector<NodeRuntimeHandler> runtime_handlers;
  Box<NodeFeatures> features;
  std::vector<std::string> declared_features;
  bool operator==(const NodeStatus&) const = default;
};

struct Node {
  static constexpr std::string_view kKind = "Node";
  static constexpr std::string_view kApiVersion = "v1";
  ObjectMeta metadata;
  NodeSpec spec;
  NodeStatus status;
  bool operator==(const Node&) const = default;
};

}  // namespace keelson::api
