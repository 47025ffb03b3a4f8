// Services and Endpoints.
#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "api/syntax.h"
#include "api/validate_parts.h"

namespace keelson::api {

namespace {

constexpr int32_t kLongestAffinity = 86'400;  // seconds: a day

void validate_service_ports(const ServiceSpec& spec, Findings& findings) {
  const std::string path = "spec.ports";
  const bool headless = spec.cluster_ip == "None";
  if (spec.ports.empty() && !headless && spec.type != "ExternalName") findings.required(path);
  std::set<std::string> names;
  std::set<std::pair<std::string, int32_t>> ports;
  std::set<std::pair<std::string, int32_t>> node_ports;
  for (size_t i = 0; i < spec.ports.size(); ++i) {
    const ServicePort& port = spec.ports[i];
    const std::string here = item(path, i);
    if (port.name.empty()) {
      if (spec.ports.size() > 1) findings.required(here + ".name");
    } else {
      findings.invalid(here + ".name", port.name, syntax::dns1123_label(port.name));
      if (!names.insert(port.name).second) findings.duplicate(here + ".name", port.name);
    }
    for (const auto& complaint : syntax::port_number(port.port)) findings.invalid(here + ".port", port.port, complaint);
    if (port.protocol.empty()) findings.required(here + ".protocol");
    validate_choice(port.protocol, {"SCTP", "TCP", "UDP"}, here + ".protocol", findings);
    if (port.target_port) validate_port(*port.target_port, here + ".targetPort", findings);
    if (!port.app_protocol.empty()) {
      findings.invalid(here + ".appProtocol", port.app_protocol, syntax::qualified_name(port.app_protocol));
    }
    if (!ports.emplace(port.protocol, port.port).second) {
      findings.duplicate(here, fmt::format("{}/{}", port.port, port.protocol));
    }
    const int32_t node_port = port.node_port.value_or(0);
    if (node_port == 0) continue;
    if (spec.type != "NodePort" && spec.type != "LoadBalancer") {
      findings.forbidden(here + ".nodePort", fmt::format("may not be used when `type` is '{}'", spec.type));
    }
    for (const auto& complaint : syntax::port_number(node_port))
      findings.invalid(here + ".nodePort", node_port, complaint);
    if (!node_ports.emplace(port.protocol, node_port).second) {
      findings.duplicate(here + ".nodePort", std::to_string(node_port));
    }
  }
}

void validate_cluster_ips(const ServiceSpec& spec, Findings& findings) {
  const std::string path = "spec.clusterIPs";
  if (spec.type == "ExternalName") {
    if (!spec.cluster_ip.empty()) findings.forbidden("spec.clusterIP", "may not be set for ExternalName services");
    return;
  }
  if (spec.cluster_ip == "None" && (spec.type == "NodePort" || spec.type == "LoadBalancer")) {
    findings.invalid("spec.clusterIPs[0]", spec.cluster_ip,
                     fmt::format("may not be set to 'None' for {} services", spec.type));
  }
  if (!spec.cluster_ips.empty() && spec.cluster_ips[0] != spec.cluster_ip) {
    findings.invalid(path, spec.cluster_ips[0], "first value must match `clusterIP`");
  }
  if (spec.cluster_ips.size() > 2) findings.invalid(path, spec.cluster_ips[2], "may only hold up to 2 values");
  for (size_t i = 0; i < spec.cluster_ips.size(); ++i) {
    const std::string& address = spec.cluster_ips[i];
    if (address == "None") {
      if (spec.cluster_ips.size() > 1)
        findings.invalid(item(path, i), address, "'None' must be the first and only value");
      continue;
    }
    findings.invalid(item(path, i), address, syntax::routable_address(address));
  }
  if (spec.cluster_ips.size() == 2 && syntax::is_ipv6(spec.cluster_ips[0]) == syntax::is_ipv6(spec.cluster_ips[1])) {
    findings.invalid(path, spec.cluster_ips[1], "may specify no more than one IP for each IP family");
  }
}

void validate_families(const ServiceSpec& spec, Findings& findings) {
  std::set<std::string> seen;
  for (size_t i = 0; i < spec.ip_families.size(); ++i) {
    const std::string& family = spec.ip_families[i];
    const std::string here = item("spec.ipFamilies", i);
    if (family.empty()) findings.required(here);
    validate_choice(family, {"IPv4", "IPv6"}, here, findings);
    if (!seen.insert(family).second) findings.duplicate(here, family);
    if (i < spec.cluster_ips.size() && spec.cluster_ips[i] != "None" &&
        syntax::ip_address(spec.cluster_ips[i]).empty() && syntax::is_ipv6(spec.cluster_ips[i]) != (family == "IPv6")) {
      findings.invalid(item("spec.clusterIPs", i), spec.cluster_ips[i],
                       fmt::format("expected an {} value as indicated by `ipFamilies[{}]`", family, i));
    }
  }
  validate_choice(spec.ip_family_policy, {"SingleStack", "PreferDualStack", "RequireDualStack"}, "spec.ipFamilyPolicy",
                  findings);
}

void validate_affinity(const ServiceSpec& spec, Findings& findings) {
  const std::string path = "spec.sessionAffinityConfig";
  validate_choice(spec.session_affinity, {"ClientIP", "None"}, "spec.sessionAffinity", findings);
  if (spec.session_affinity == "None") {
    if (spec.session_affinity_config) {
      findings.forbidden(path, "must not be set when session affinity is None");
    }
    return;
  }
  if (spec.session_affinity != "ClientIP") return;
  const auto& config = spec.session_affinity_config;
  if (!config || !config->client_ip || !config->client_ip->timeout_seconds) {
    findings.required(path + ".clientIP.timeoutSeconds");
    return;
  }
  const int32_t timeout = *config->client_ip->timeout_seconds;
  if (timeout <= 0 || timeout > kLongestAffinity) {
    findings.invalid(path + ".clientIP.timeoutSeconds", timeout,
                     fmt::format("must be greater than 0 and less than {}", kLongestAffinity));
  }
}

void validate_traffic(const ServiceSpec& spec, Findings& findings) {
  validate_choice(spec.external_traffic_policy, {"Cluster", "Local"}, "spec.externalTrafficPolicy", findings);
  validate_choice(spec.internal_traffic_policy, {"Cluster", "Local"}, "spec.internalTrafficPolicy", findings);
  validate_choice(spec.traffic_distribution, {"PreferClose", "PreferSameNode", "PreferSameZone"},
                  "spec.trafficDistribution", findings);
  const bool external = spec.type == "NodePort" || spec.type == "LoadBalancer" ||
                        (spec.type == "ClusterIP" && !spec.external_ips.empty());
  if (!external && !spec.external_traffic_policy.empty()) {
    findings.invalid("spec.externalTrafficPolicy", spec.external_traffic_policy,
                     "may only be set for externally-accessible services");
  }
  for (size_t i = 0; i < spec.external_ips.size(); ++i) {
    findings.invalid(item("spec.externalIPs", i), spec.external_ips[i], syntax::routable_address(spec.external_ips[i]));
  }
  for (size_t i = 0; i < spec.load_balancer_source_ranges.size(); ++i) {
    const std::string& range = spec.load_balancer_source_ranges[i];
    findings.invalid(item("spec.loadBalancerSourceRanges", i), range, syntax::cidr(range));
  }
  if (!spec.load_balancer_source_ranges.empty() && spec.type != "LoadBalancer") {
    findings.forbidden("spec.loadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'");
  }
  const int32_t health_port = spec.health_check_node_port.value_or(0);
  if (health_port != 0 && (spec.type != "LoadBalancer" || spec.external_traffic_policy != "Local")) {
    findings.invalid("spec.healthCheckNodePort", health_port,
                     "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
  }
}

void validate_addresses(const std::vector<EndpointAddress>& addresses, const std::string& path, Findings& findings) {
  for (size_t i = 0; i < addresses.size(); ++i) {
    const EndpointAddress& address = addresses[i];
    const std::string here = item(path, i);
    findings.invalid(here + ".ip", address.ip, syntax::routable_address(address.ip));
    if (!address.hostname.empty()) {
      findings.invalid(here + ".hostname", address.hostname, syntax::dns1123_label(address.hostname));
    }
    if (!address.node_name.empty()) {
      findings.invalid(here + ".nodeName", address.node_name, syntax::dns1123_subdomain(address.node_name));
    }
  }
}

void validate_endpoint_ports(const std::vector<EndpointPort>& ports, const std::string& path, Findings& findings) {
  std::set<std::string> names;
  for (size_t i = 0; i < ports.size(); ++i) {
    const EndpointPort& port = ports[i];
    const std::string here = item(path, i);
    if (port.name.empty()) {
      if (ports.size() > 1) findings.required(here + ".name");
    } else {
      findings.invalid(here + ".name", port.name, syntax::dns1123_label(port.name));
      if (!names.insert(port.name).second) findings.duplicate(here + ".name", port.name);
    }
    for (const auto& complaint : syntax::port_number(port.port)) findings.invalid(here + ".port", port.port, complaint);
    if (port.protocol.empty()) findings.required(here + ".protocol");
    validate_choice(port.protocol, {"SCTP", "TCP", "UDP"}, here + ".protocol", findings);
    if (!port.app_protocol.empty()) {
      findings.invalid(here + ".appProtocol", port.app_protocol, syntax::qualified_name(port.app_protocol));
    }
  }
}

}  // namespace

void validate_service(const Service& service, Findings& findings) {
  const ServiceSpec& spec = service.spec;
  if (spec.type.empty()) findings.required("spec.type");
  validate_choice(spec.type, {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"}, "spec.type", findings);
  validate_service_ports(spec, findings);
  validate_labels(spec.selector, "spec.selector", findings);
  validate_cluster_ips(spec, findings);
  validate_families(spec, findings);
  validate_affinity(spec, findings);
  validate_traffic(spec, findings);
  if (spec.type == "ExternalName") {
    std::string_view name = spec.external_name;
    if (name.ends_with('.')) name.remove_suffix(1);
    if (name.empty()) {
      findings.required("spec.externalName");
    } else {
      findings.invalid("spec.externalName", spec.external_name, syntax::dns1123_subdomain(name));
    }
  }
}

void validate_endpoints(const Endpoints& endpoints, Findings& findings) {
  for (size_t i = 0; i < endpoints.subsets.size(); ++i) {
    const EndpointSubset& subset = endpoints.subsets[i];
    const std::string here = item("subsets", i);
    if (subset.addresses.empty() && subset.not_ready_addresses.empty()) {
      findings.required(here, "must specify `addresses` or `notReadyAddresses`");
    }
    validate_addresses(subset.addresses, here + ".addresses", findings);
    validate_addresses(subset.not_ready_addresses, here + ".notReadyAddresses", findings);
    validate_endpoint_ports(subset.ports, here + ".ports", findings);
  }
}

}  // namespace keelson::api
