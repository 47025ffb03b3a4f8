// The tables of endpoint_slice.h.
#include "api/endpoint_slice.h"

#include "api/schema.h"

namespace keelson::api {

template <>
const Type& type_of<EndpointConditions>() {
  static constexpr Field kFields[] = {
      field<&EndpointConditions::ready>(1, "ready"),
      field<&EndpointConditions::serving>(2, "serving"),
      field<&EndpointConditions::terminating>(3, "terminating"),
  };
  static constexpr Type kType{.name = "EndpointConditions", .fields = kFields, .package = "discovery.v1"};
  return kType;
}

template <>
const Type& type_of<ForZone>() {
  static constexpr Field kFields[] = {
      field<&ForZone::name>(1, "name").needed(),
  };
  static constexpr Type kType{.name = "ForZone", .fields = kFields, .package = "discovery.v1"};
  return kType;
}

template <>
const Type& type_of<ForNode>() {
  static constexpr Field kFields[] = {
      field<&ForNode::name>(1, "name").needed(),
  };
  static constexpr Type kType{.name = "ForNode", .fields = kFields, .package = "discovery.v1"};
  return kType;
}

template <>
const Type& type_of<EndpointHints>() {
  static constexpr Field kFields[] = {
      field<&EndpointHints::for_zones>(1, "forZones").atomic(),
      field<&EndpointHints::for_nodes>(2, "forNodes").atomic(),
  };
  static constexpr Type kType{.name = "EndpointHints", .fields = kFields, .package = "discovery.v1"};
  return kType;
}

template <>
const Type& type_of<Endpoint>() {
  static constexpr Field kFields[] = {
      field<&Endpoint::addresses>(1, "addresses").needed().set(),
      field<&Endpoint::conditions>(2, "conditions"),
      field<&Endpoint::hostname>(3, "hostname"),
      field<&Endpoint::target_ref>(4, "targetRef"),
      field<&Endpoint::deprecated_topology>(5, "deprecatedTopology"),
      field<&Endpoint::node_name>(6, "nodeName"),
      field<&Endpoint::zone>(7, "zone"),
      field<&Endpoint::hints>(8, "hints"),
  };
  static constexpr Type kType{.name = "Endpoint", .fields = kFields, .package = "discovery.v1"};
  return kType;
}

template <>
const Type& type_of<EndpointSlicePort>() {
  static constexpr Field kFields[] = {
      field<&EndpointSlicePort::name>(1, "name").printed(),
      field<&EndpointSlicePort::protocol>(2, "protocol"),
      field<&EndpointSlicePort::port>(3, "port"),
      field<&EndpointSlicePort::app_protocol>(4, "appProtocol"),
  };
  static constexpr Type kType{.name = "EndpointPort", .fields = kFields, .package = "discovery.v1"};
  return kType;
}

template <>
const Type& type_of<EndpointSlice>() {
  static constexpr Field kFields[] = {
      field<&EndpointSlice::metadata>(1, "metadata"),
      field<&EndpointSlice::address_type>(4, "addressType").needed(),
      field<&EndpointSlice::endpoints>(2, "endpoints").printed().atomic(),
      field<&EndpointSlice::ports>(3, "ports").printed().atomic(),
  };
  static constexpr Type kType{
      .name = "EndpointSlice", .fields = kFields, .package = "discovery.v1", .has_type_meta = true};
  return kType;
}

}  // namespace keelson::api
