// The tables of Service and Endpoints.
#include "api/service.h"

#include "api/schema.h"

namespace keelson::api {

template <>
const Type& type_of<ServicePort>() {
  static constexpr Field kFields[] = {
      field<&ServicePort::name>(1, "name"),
      field<&ServicePort::protocol>(2, "protocol"),
      field<&ServicePort::app_protocol>(6, "appProtocol"),
      field<&ServicePort::port>(3, "port").needed(),
      field<&ServicePort::target_port>(4, "targetPort").printed(),
      field<&ServicePort::node_port>(5, "nodePort").plain(),
  };
  static constexpr Type kType{"ServicePort", kFields};
  return kType;
}

template <>
const Type& type_of<ClientIPConfig>() {
  static constexpr Field kFields[] = {
      field<&ClientIPConfig::timeout_seconds>(1, "timeoutSeconds"),
  };
  static constexpr Type kType{"ClientIPConfig", kFields};
  return kType;
}

template <>
const Type& type_of<SessionAffinityConfig>() {
  static constexpr Field kFields[] = {
      field<&SessionAffinityConfig::client_ip>(1, "clientIP"),
  };
  static constexpr Type kType{"SessionAffinityConfig", kFields};
  return kType;
}

template <>
const Type& type_of<ServiceSpec>() {
  static constexpr Field kFields[] = {
      field<&ServiceSpec::ports>(1, "ports").keyed_by("port,protocol").merged_by("port"),
      field<&ServiceSpec::selector>(2, "selector").atomic(),
      field<&ServiceSpec::cluster_ip>(3, "clusterIP"),
      field<&ServiceSpec::cluster_ips>(18, "clusterIPs").atomic(),
      field<&ServiceSpec::type>(4, "type"),
      field<&ServiceSpec::external_ips>(5, "externalIPs").atomic(),
      field<&ServiceSpec::session_affinity>(7, "sessionAffinity"),
      field<&ServiceSpec::load_balancer_ip>(8, "loadBalancerIP"),
      field<&ServiceSpec::load_balancer_source_ranges>(9, "loadBalancerSourceRanges").atomic(),
      field<&ServiceSpec::external_name>(10, "externalName"),
      field<&ServiceSpec::external_traffic_policy>(11, "externalTrafficPolicy"),
      field<&ServiceSpec::health_check_node_port>(12, "healthCheckNodePort").plain(),
      field<&ServiceSpec::publish_not_ready_addresses>(13, "publishNotReadyAddresses").plain(),
      field<&ServiceSpec::session_affinity_config>(14, "sessionAffinityConfig"),
      field<&ServiceSpec::ip_families>(19, "ipFamilies").atomic(),
      field<&ServiceSpec::ip_family_policy>(17, "ipFamilyPolicy"),
      field<&ServiceSpec::allocate_load_balancer_node_ports>(20, "allocateLoadBalancerNodePorts"),
      field<&ServiceSpec::load_balancer_class>(21, "loadBalancerClass"),
      field<&ServiceSpec::internal_traffic_policy>(22, "internalTrafficPolicy"),
      field<&ServiceSpec::traffic_distribution>(23, "trafficDistribution"),
  };
  static constexpr Type kType{"ServiceSpec", kFields};
  return kType;
}

template <>
const Type& type_of<PortStatus>() {
  static constexpr Field kFields[] = {
      field<&PortStatus::port>(1, "port").needed(),
      field<&PortStatus::protocol>(2, "protocol").needed(),
      field<&PortStatus::error>(3, "error"),
  };
  static constexpr Type kType{"PortStatus", kFields};
  return kType;
}

template <>
const Type& type_of<LoadBalancerIngress>() {
  static constexpr Field kFields[] = {
      field<&LoadBalancerIngress::ip>(1, "ip"),
      field<&LoadBalancerIngress::hostname>(2, "hostname"),
      field<&LoadBalancerIngress::ip_mode>(3, "ipMode"),
      field<&LoadBalancerIngress::ports>(4, "ports").atomic(),
  };
  static constexpr Type kType{"LoadBalancerIngress", kFields};
  return kType;
}

template <>
const Type& type_of<LoadBalancerStatus>() {
  static constexpr Field kFields[] = {
      field<&LoadBalancerStatus::ingress>(1, "ingress").atomic(),
  };
  static constexpr Type kType{"LoadBalancerStatus", kFields};
  return kType;
}

template <>
const Type& type_of<Condition>() {
  static constexpr Field kFields[] = {
      field<&Condition::type>(1, "type").needed(),
      field<&Condition::status>(2, "status").needed(),
      field<&Condition::observed_generation>(3, "observedGeneration").plain(),
      field<&Condition::last_transition_time>(4, "lastTransitionTime").needed().null_if_absent(),
      field<&Condition::reason>(5, "reason").needed(),
      field<&Condition::message>(6, "message").needed(),
  };
  static constexpr Type kType{.name = "Condition", .fields = kFields, .package = "apis.meta.v1"};
  return kType;
}

template <>
const Type& type_of<ServiceStatus>() {
  static constexpr Field kFields[] = {
      field<&ServiceStatus::load_balancer>(1, "loadBalancer"),
      field<&ServiceStatus::conditions>(2, "conditions").keyed_by("type").merged_by("type"),
  };
  static constexpr Type kType{"ServiceStatus", kFields};
  return kType;
}

template <>
const Type& type_of<Service>() {
  static constexpr Field kFields[] = {
      field<&Service::metadata>(1, "metadata"),
      field<&Service::spec>(2, "spec"),
      field<&Service::status>(3, "status"),
  };
  static constexpr Type kType{.name = "Service", .fields = kFields, .has_type_meta = true};
  return kType;
}

template <>
const Type& type_of<EndpointAddress>() {
  static constexpr Field kFields[] = {
      field<&EndpointAddress::ip>(1, "ip").needed(),
      field<&EndpointAddress::hostname>(3, "hostname"),
      field<&EndpointAddress::node_name>(4, "nodeName"),
      field<&EndpointAddress::target_ref>(2, "targetRef"),
  };
  static constexpr Type kType{"EndpointAddress", kFields};
  return kType;
}

template <>
const Type& type_of<EndpointPort>() {
  static constexpr Field kFields[] = {
      field<&EndpointPort::name>(1, "name"),
      field<&EndpointPort::port>(2, "port").needed(),
      field<&EndpointPort::protocol>(3, "protocol"),
      field<&EndpointPort::app_protocol>(4, "appProtocol"),
  };
  static constexpr Type kType{"EndpointPort", kFields};
  return kType;
}

template <>
const Type& type_of<EndpointSubset>() {
  static constexpr Field kFields[] = {
      field<&EndpointSubset::addresses>(1, "addresses").atomic(),
      field<&EndpointSubset::not_ready_addresses>(2, "notReadyAddresses").atomic(),
      field<&EndpointSubset::ports>(3, "ports").atomic(),
  };
  static constexpr Type kType{"EndpointSubset", kFields};
  return kType;
}

template <>
const Type& type_of<Endpoints>() {
  static constexpr Field kFields[] = {
      field<&Endpoints::metadata>(1, "metadata"),
      field<&Endpoints::subsets>(2, "subsets").atomic(),
  };
  static constexpr Type kType{.name = "Endpoints", .fields = kFields, .has_type_meta = true};
  return kType;
}

}  // namespace keelson::api
