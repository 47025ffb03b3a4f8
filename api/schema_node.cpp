// The tables of node.h.
#include "api/node.h"

#include "api/schema.h"

namespace keelson::api {

template <>
const Type& type_of<Taint>() {
  static constexpr Field kFields[] = {
      field<&Taint::key>(1, "key").needed(),
      field<&Taint::value>(2, "value"),
      field<&Taint::effect>(3, "effect").needed(),
      field<&Taint::time_added>(4, "timeAdded"),
  };
  static constexpr Type kType{.name = "Taint", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<ConfigMapNodeConfigSource>() {
  static constexpr Field kFields[] = {
      field<&ConfigMapNodeConfigSource::namespace_>(1, "namespace").needed(),
      field<&ConfigMapNodeConfigSource::name>(2, "name").needed(),
      field<&ConfigMapNodeConfigSource::uid>(3, "uid"),
      field<&ConfigMapNodeConfigSource::resource_version>(4, "resourceVersion"),
      field<&ConfigMapNodeConfigSource::kubelet_config_key>(5, "kubeletConfigKey").needed(),
  };
  static constexpr Type kType{.name = "ConfigMapNodeConfigSource", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<NodeConfigSource>() {
  static constexpr Field kFields[] = {
      field<&NodeConfigSource::config_map>(2, "configMap"),
  };
  static constexpr Type kType{.name = "NodeConfigSource", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<NodePodPreemptionPolicy>() {
  static constexpr Field kFields[] = {
      field<&NodePodPreemptionPolicy::disable_resize_preemption>(1, "disableResizePreemption").set(),
  };
  static constexpr Type kType{.name = "NodePodPreemptionPolicy", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<NodeSpec>() {
  static constexpr Field kFields[] = {
      field<&NodeSpec::pod_cidr>(1, "podCIDR"),       field<&NodeSpec::pod_cidrs>(7, "podCIDRs").set().merged(),
      field<&NodeSpec::provider_id>(3, "providerID"), field<&NodeSpec::unschedulable>(4, "unschedulable").plain(),
      field<&NodeSpec::taints>(5, "taints").atomic(), field<&NodeSpec::config_source>(6, "configSource"),
      field<&NodeSpec::external_id>(2, "externalID"), field<&NodeSpec::pod_preemption_policy>(8, "podPreemptionPolicy"),
  };
  static constexpr Type kType{.name = "NodeSpec", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<NodeCondition>() {
  static constexpr Field kFields[] = {
      field<&NodeCondition::type>(1, "type").needed(),
      field<&NodeCondition::status>(2, "status").needed(),
      field<&NodeCondition::last_heartbeat_time>(3, "lastHeartbeatTime").null_if_absent(),
      field<&NodeCondition::last_transition_time>(4, "lastTransitionTime").null_if_absent(),
      field<&NodeCondition::reason>(5, "reason"),
      field<&NodeCondition::message>(6, "message"),
  };
  static constexpr Type kType{.name = "NodeCondition", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<NodeAddress>() {
  static constexpr Field kFields[] = {
      field<&NodeAddress::type>(1, "type").needed(),
      field<&NodeAddress::address>(2, "address").needed(),
  };
  static constexpr Type kType{.name = "NodeAddress", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<DaemonEndpoint>() {
  static constexpr Field kFields[] = {
      field<&DaemonEndpoint::port>(1, "Port").needed(),
  };
  static constexpr Type kType{.name = "DaemonEndpoint", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<NodeDaemonEndpoints>() {
  static constexpr Field kFields[] = {
      field<&NodeDaemonEndpoints::kubelet_endpoint>(1, "kubeletEndpoint"),
  };
  static constexpr Type kType{.name = "NodeDaemonEndpoints", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<NodeSwapStatus>() {
  static constexpr Field kFields[] = {
      field<&NodeSwapStatus::capacity>(1, "capacity"),
  };
  static constexpr Type kType{.name = "NodeSwapStatus", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<NodeSystemInfo>() {
  static constexpr Field kFields[] = {
      field<&NodeSystemInfo::machine_id>(1, "machineID").needed(),
      field<&NodeSystemInfo::system_uuid>(2, "systemUUID").needed(),
      field<&NodeSystemInfo::boot_id>(3, "bootID").needed(),
      field<&NodeSystemInfo::kernel_version>(4, "kernelVersion").needed(),
      field<&NodeSystemInfo::os_image>(5, "osImage").needed(),
      field<&NodeSystemInfo::container_runtime_version>(6, "containerRuntimeVersion").needed(),
      field<&NodeSystemInfo::kubelet_version>(7, "kubeletVersion").needed(),
      field<&NodeSystemInfo::kube_proxy_version>(8, "kubeProxyVersion").needed(),
      field<&NodeSystemInfo::operating_system>(9, "operatingSystem").needed(),
      field<&NodeSystemInfo::architecture>(10, "architecture").needed(),
      field<&NodeSystemInfo::swap>(11, "swap"),
  };
  static constexpr Type kType{.name = "NodeSystemInfo", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<ContainerImage>() {
  static constexpr Field kFields[] = {
      field<&ContainerImage::names>(1, "names").printed().atomic(),
      field<&ContainerImage::size_bytes>(2, "sizeBytes").plain(),
  };
  static constexpr Type kType{.name = "ContainerImage", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<AttachedVolume>() {
  static constexpr Field kFields[] = {
      field<&AttachedVolume::name>(1, "name").needed(),
      field<&AttachedVolume::device_path>(2, "devicePath").needed(),
  };
  static constexpr Type kType{.name = "AttachedVolume", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<NodeConfigStatus>() {
  static constexpr Field kFields[] = {
      field<&NodeConfigStatus::assigned>(1, "assigned"),
      field<&NodeConfigStatus::active>(2, "active"),
      field<&NodeConfigStatus::last_known_good>(3, "lastKnownGood"),
      field<&NodeConfigStatus::error>(4, "error"),
  };
  static constexpr Type kType{.name = "NodeConfigStatus", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<NodeRuntimeHandlerFeatures>() {
  static constexpr Field kFields[] = {
      field<&NodeRuntimeHandlerFeatures::recursive_read_only_mounts>(1, "recursiveReadOnlyMounts"),
      field<&NodeRuntimeHandlerFeatures::user_namespaces>(2, "userNamespaces"),
  };
  static constexpr Type kType{.name = "NodeRuntimeHandlerFeatures", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<NodeRuntimeHandler>() {
  static constexpr Field kFields[] = {
      field<&NodeRuntimeHandler::name>(1, "name").printed(),
      field<&NodeRuntimeHandler::features>(2, "features"),
  };
  static constexpr Type kType{.name = "NodeRuntimeHandler", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<NodeFeatures>() {
  static constexpr Field kFields[] = {
      field<&NodeFeatures::supplemental_groups_policy>(1, "supplementalGroupsPolicy"),
  };
  static constexpr Type kType{.name = "NodeFeatures", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<NodeStatus>() {
  static constexpr Field kFields[] = {
      field<&NodeStatus::capacity>(1, "capacity"),
      field<&NodeStatus::allocatable>(2, "allocatable"),
      field<&NodeStatus::phase>(3, "phase"),
      field<&NodeStatus::conditions>(4, "conditions").keyed_by("type").merged_by("type"),
      field<&NodeStatus::addresses>(5, "addresses").keyed_by("type").merged_by("type"),
      field<&NodeStatus::daemon_endpoints>(6, "daemonEndpoints"),
      field<&NodeStatus::node_info>(7, "nodeInfo"),
      field<&NodeStatus::images>(8, "images").atomic(),
      field<&NodeStatus::volumes_in_use>(9, "volumesInUse").atomic(),
      field<&NodeStatus::volumes_attached>(10, "volumesAttached").atomic(),
      field<&NodeStatus::config>(11, "config"),
      field<&NodeStatus::runtime_handlers>(12, "runtimeHandlers").atomic(),
      field<&NodeStatus::features>(13, "features"),
      field<&NodeStatus::declared_features>(14, "declaredFeatures").atomic(),
  };
  static constexpr Type kType{.name = "NodeStatus", .fields = kFields};
  return kType;
}

template <>
const Type& type_of<Node>() {
  static constexpr Field kFields[] = {
      field<&Node::metadata>(1, "metadata"),
      field<&Node::spec>(2, "spec"),
      field<&Node::status>(3, "status"),
  };
  static constexpr Type kType{.name = "Node", .fields = kFields, .has_type_meta = true};
  return kType;
}

}  // namespace keelson::api
