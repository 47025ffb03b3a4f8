// Node, ReplicationController, EndpointSlice, Lease, Event, Binding.
#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "api/syntax.h"
#include "api/validate.h"
#include "api/validate_parts.h"

namespace keelson::api {

namespace {

constexpr size_t kMostEndpoints = 1'000;
constexpr size_t kMostAddresses = 100;
constexpr size_t kMostSlicePorts = 20'000;

void not_negative(const std::optional<int32_t>& value, const std::string& path, Findings& findings) {
  if (value.value_or(0) < 0) findings.invalid(path, *value, "must be greater than or equal to 0");
}

std::string go_map(const std::map<std::string, std::string>& labels) {
  std::string out = "map[string]string{";
  for (const auto& [key, value] : labels) {
    if (!out.ends_with('{')) out += ", ";
    out += fmt::format("\"{}\":\"{}\"", key, value);
  }
  return out + "}";
}

void validate_slice_address(const std::string& type, const std::string& address, const std::string& path,
                            Findings& findings) {
  if (type == "FQDN") {
    findings.invalid(path, address, syntax::dns1123_subdomain(address));
    return;
  }
  if (const auto complaints = syntax::ip_address(address); !complaints.empty()) {
    findings.invalid(path, address, complaints);
  } else if (syntax::is_ipv6(address) != (type == "IPv6")) {
    findings.invalid(path, address, fmt::format("must be a valid {} address", type));
  } else {
    findings.invalid(path, address, syntax::routable_address(address));
  }
}

}  // namespace

void validate_replication_controller(const ReplicationController& controller, Findings& findings) {
  const ReplicationControllerSpec& spec = controller.spec;
  not_negative(spec.min_ready_seconds, "spec.minReadySeconds", findings);
  if (spec.selector.empty()) findings.required("spec.selector");
  not_negative(spec.replicas, "spec.replicas", findings);
  if (!spec.template_) {
    findings.required("spec.template");
    return;
  }
  const PodTemplateSpec& pod = *spec.template_;
  if (!spec.selector.empty() && !matches(spec.selector, pod.metadata.labels)) {
    findings.invalid_raw("spec.template.metadata.labels", go_map(pod.metadata.labels),
                         "`selector` does not match template `labels`");
  }
  validate_labels(pod.metadata.labels, "spec.template.metadata.labels", findings);
  Findings inner;
  validate_pod_spec(pod.spec, inner);
  findings.below("spec.template", std::move(inner));
  if (pod.spec.restart_policy != "Always") {
    findings.unsupported("spec.template.spec.restartPolicy", pod.spec.restart_policy, {"Always"});
  }
  if (pod.spec.active_deadline_seconds) {
    findings.forbidden("spec.template.spec.activeDeadlineSeconds",
                       "activeDeadlineSeconds in ReplicaSet is not Supported");
  }
}

void validate_node(const Node& node, Findings& findings) {
  std::set<std::pair<std::string, std::string>> seen;
  for (size_t i = 0; i < node.spec.taints.size(); ++i) {
    const Taint& taint = node.spec.taints[i];
    const std::string path = item("spec.taints", i);
    findings.invalid(path + ".key", taint.key, syntax::qualified_name(taint.key));
    findings.invalid(path + ".value", taint.value, syntax::label_value(taint.value));
    if (taint.effect.empty()) findings.required(path + ".effect");
    validate_choice(taint.effect, {"NoSchedule", "PreferNoSchedule", "NoExecute"}, path + ".effect", findings);
    if (!seen.emplace(taint.key, taint.effect).second) {
      findings.duplicate(path, fmt::format("{}:{}", taint.key, taint.effect));
    }
  }
  const std::vector<std::string>& ranges = node.spec.pod_cidrs;
  for (size_t i = 0; i < ranges.size(); ++i) {
    findings.invalid(item("spec.podCIDRs", i), ranges[i], syntax::cidr(ranges[i]));
  }
  if (ranges.size() > 2)
    findings.invalid("spec.podCIDRs", ranges[2], "may specify no more than one CIDR for each IP family");
  std::set<std::string> addresses;
  for (size_t i = 0; i < node.status.addresses.size(); ++i) {
    const NodeAddress& address = node.status.addresses[i];
    if (!addresses.insert(address.type + " " + address.address).second) {
      findings.duplicate(item("status.addresses", i), address.address);
    }
  }
  for (const auto& [list, path] : {std::pair(&node.status.capacity, "status.capacity"),
                                   std::pair(&node.status.allocatable, "status.allocatable")}) {
    for (const auto& [name, quantity] : *list) {
      if (quantity.text.starts_with('-')) {
        findings.invalid(entry(path, name), quantity.text, "must be greater than or equal to 0");
      }
    }
  }
}

void validate_event(const Event& event, Findings& findings) {
  const std::string& about = event.involved_object.namespace_;
  const std::string& space = event.metadata.namespace_;
  if (about.empty() ? space != "default" && space != "kube-system" : about != space) {
    findings.invalid("involvedObject.namespace", about, "does not match event.namespace");
  }
}

void validate_endpoint_slice(const EndpointSlice& slice, Findings& findings) {
  if (slice.address_type.empty()) findings.required("addressType");
  validate_choice(slice.address_type, {"FQDN", "IPv4", "IPv6"}, "addressType", findings);
  if (slice.endpoints.size() > kMostEndpoints) findings.too_many("endpoints", slice.endpoints.size(), kMostEndpoints);
  for (size_t i = 0; i < std::min(slice.endpoints.size(), kMostEndpoints); ++i) {
    const Endpoint& endpoint = slice.endpoints[i];
    const std::string path = item("endpoints", i);
    if (endpoint.addresses.empty()) findings.required(path + ".addresses", "must contain at least 1 address");
    if (endpoint.addresses.size() > kMostAddresses) {
      findings.too_many(path + ".addresses", endpoint.addresses.size(), kMostAddresses);
    }
    for (size_t a = 0; a < std::min(endpoint.addresses.size(), kMostAddresses); ++a) {
      validate_slice_address(slice.address_type, endpoint.addresses[a], item(path + ".addresses", a), findings);
    }
    if (!endpoint.hostname.empty()) {
      findings.invalid(path + ".hostname", endpoint.hostname, syntax::dns1123_label(endpoint.hostname));
    }
    if (!endpoint.node_name.empty()) {
      findings.invalid(path + ".nodeName", endpoint.node_name, syntax::dns1123_subdomain(endpoint.node_name));
    }
  }
  if (slice.ports.size() > kMostSlicePorts) findings.too_many("ports", slice.ports.size(), kMostSlicePorts);
  std::set<std::string> names;
  for (size_t i = 0; i < std::min(slice.ports.size(), kMostSlicePorts); ++i) {
    const EndpointSlicePort& port = slice.ports[i];
    const std::string path = item("ports", i);
    if (!names.insert(port.name).second) findings.duplicate(path + ".name", port.name);
    if (!port.name.empty()) findings.invalid(path + ".name", port.name, syntax::dns1123_label(port.name));
    if (port.protocol.empty()) findings.required(path + ".protocol");
    validate_choice(port.protocol, {"SCTP", "TCP", "UDP"}, path + ".protocol", findings);
    if (port.port) {
      for (const auto& complaint : syntax::port_number(*port.port))
        findings.invalid(path + ".port", *port.port, complaint);
    }
  }
}

void validate_lease(const Lease& lease, Findings& findings) {
  if (const auto seconds = lease.spec.lease_duration_seconds; seconds && *seconds <= 0) {
    findings.invalid("spec.leaseDurationSeconds", *seconds, "must be greater than 0");
  }
  if (const auto count = lease.spec.lease_transitions; count && *count < 0) {
    findings.invalid("spec.leaseTransitions", *count, "must be greater than or equal to 0");
  }
}

void validate_binding(const Binding& binding, Findings& findings) {
  validate_choice(binding.target.kind, {"Node", "<empty>"}, "target.kind", findings);
  if (binding.target.name.empty()) findings.required("target.name");
}

}  // namespace keelson::api
