// Endpoints: addresses with the same ports make a subset.
#include "master/controllers/endpoints.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "host/ip.h"
#include "master/controllers/endpoint_parts.h"

namespace keelson::controllers {

namespace {

constexpr const char* kOverCapacity = "endpoints.kubernetes.io/over-capacity";
constexpr const char* kHeadless = "service.kubernetes.io/headless";

struct SubsetKey {
  std::vector<std::tuple<std::string, int32_t, std::string, std::string>> ports;
  auto operator<=>(const SubsetKey&) const = default;
};

// What a Service with two families has in Endpoints: addresses of its first.
const std::string* address_of(const api::Service& service, const api::Pod& pod) {
  const bool want_v6 = families_of(service).front() == "IPv6";
  const auto fits = [&](const std::string& text) {
    const auto parsed = host::IpAddress::parse(text);
    return parsed && parsed->is_v4() != want_v6;
  };
  for (const api::PodIP& ip : pod.status.pod_ips) {
    if (fits(ip.ip)) return &ip.ip;
  }
  return fits(pod.status.pod_ip) ? &pod.status.pod_ip : nullptr;
}

void sort_addresses(std::vector<api::EndpointAddress>& addresses) {
  std::sort(addresses.begin(), addresses.end(), [](const auto& a, const auto& b) {
    const auto left = host::IpAddress::parse(a.ip), right = host::IpAddress::parse(b.ip);
    if (left && right && *left != *right) return *left < *right;
    return std::tie(a.ip, a.hostname) < std::tie(b.ip, b.hostname);
  });
}

// Ready ones are the last to be left out, each subset giving its share.
bool truncate(std::vector<api::EndpointSubset>& subsets) {
  size_t ready = 0, all = 0;
  for (const api::EndpointSubset& subset : subsets) {
    ready += subset.addresses.size();
    all += subset.addresses.size() + subset.not_ready_addresses.size();
  }
  if (all <= kMostAddresses) return false;
  size_t room_ready = std::min(ready, kMostAddresses);
  size_t room_other = kMostAddresses - room_ready;
  for (api::EndpointSubset& subset : subsets) {
    subset.addresses.resize(std::min(subset.addresses.size(), room_ready));
    room_ready -= subset.addresses.size();
    subset.not_ready_addresses.resize(std::min(subset.not_ready_addresses.size(), room_other));
    room_other -= subset.not_ready_addresses.size();
  }
  std::erase_if(subsets, [](const auto& s) { return s.addresses.empty() && s.not_ready_addresses.empty(); });
  return true;
}

}  // namespace

bool selects_pods(const api::Service& service) {
  return !service.spec.selector.empty() && service.spec.type != "ExternalName";
}

bool same_endpoint(const api::Pod& before, const api::Pod& after) {
  return before.metadata.uid == after.metadata.uid && before.metadata.labels == after.metadata.labels &&
         before.metadata.deletion_timestamp.has_value() == after.metadata.deletion_timestamp.has_value() &&
         before.status.phase == after.status.phase && before.status.pod_ip == after.status.pod_ip &&
         before.status.pod_ips == after.status.pod_ips && before.spec.node_name == after.spec.node_name &&
         is_ready(before) == is_ready(after);
}

std::vector<std::string> families_of(const api::Service& service) {
  if (!service.spec.ip_families.empty()) return service.spec.ip_families;
  const auto address = host::IpAddress::parse(service.spec.cluster_ip);
  return {address && !address->is_v4() ? "IPv6" : "IPv4"};
}

bool is_headless(const api::Service& service) { return service.spec.cluster_ip == "None"; }

std::map<std::string, std::string> labels_of(const api::Service& service) {
  std::map<std::string, std::string> labels = service.metadata.labels;
  labels.erase(kHeadless);
  if (is_headless(service)) labels[kHeadless] = "";
  return labels;
}

std::optional<int32_t> port_on(const api::Pod& pod, const api::ServicePort& port) {
  const api::IntOrString target = port.target_port.value_or(api::IntOrString{.number = port.port});
  if (!target.is_string) return target.number != 0 ? target.number : port.port;
  const std::string protocol = port.protocol.empty() ? "TCP" : port.protocol;
  const auto find = [&](const std::vector<api::Container>& containers, bool sidecars) -> std::optional<int32_t> {
    for (const api::Container& container : containers) {
      if (sidecars && container.restart_policy != "Always") continue;
      for (const api::ContainerPort& candidate : container.ports) {
        const std::string candidate_protocol = candidate.protocol.empty() ? "TCP" : candidate.protocol;
        if (candidate.name == target.text && candidate_protocol == protocol) return candidate.container_port;
      }
    }
    return std::nullopt;
  };
  if (auto found = find(pod.spec.containers, false)) return found;
  return find(pod.spec.init_containers, true);
}

std::string hostname_in(const api::Service& service, const api::Pod& pod) {
  const bool in_domain = pod.spec.subdomain == service.metadata.name && !pod.spec.hostname.empty();
  return in_domain ? pod.spec.hostname : std::string();
}

api::ObjectReference reference_to_pod(const api::Pod& pod) {
  return {.kind = "Pod",
          .namespace_ = pod.metadata.namespace_,
          .name = pod.metadata.name,
          .uid = pod.metadata.uid,
          .api_version = {},
          .resource_version = {},
          .field_path = {}};
}

bool publishes_not_ready(const api::Service& service) {
  return service.spec.publish_not_ready_addresses.value_or(false);
}

api::Endpoints endpoints_of(const api::Service& service, const std::vector<PodPtr>& pods) {
  const bool any_will_do = publishes_not_ready(service);
  std::map<SubsetKey, api::EndpointSubset> subsets;
  for (const PodPtr& pod : pods) {
    if (pod->status.phase == "Succeeded" || pod->status.phase == "Failed") continue;
    if (pod->metadata.deletion_timestamp && !any_will_do) continue;
    const std::string* ip = address_of(service, *pod);
    if (ip == nullptr) continue;
    SubsetKey key;
    std::vector<api::EndpointPort> ports;
    for (const api::ServicePort& port : service.spec.ports) {
      const auto number = port_on(*pod, port);
      if (!number) continue;
      const std::string protocol = port.protocol.empty() ? "TCP" : port.protocol;
      ports.push_back({.name = port.name, .port = *number, .protocol = protocol, .app_protocol = port.app_protocol});
      key.ports.emplace_back(port.name, *number, protocol, port.app_protocol);
    }
    // A headless Service may have none; any other's Pod without the port is no endpoint.
    if (ports.empty() && !(is_headless(service) && service.spec.ports.empty())) continue;
    api::EndpointSubset& subset = subsets[key];
    subset.ports = std::move(ports);
    api::EndpointAddress address{.ip = *ip,
                                 .hostname = hostname_in(service, *pod),
                                 .node_name = pod->spec.node_name,
                                 .target_ref = reference_to_pod(*pod)};
    const bool ready = any_will_do || is_ready(*pod);
    (ready ? subset.addresses : subset.not_ready_addresses).push_back(std::move(address));
  }
  api::Endpoints endpoints;
  endpoints.metadata.namespace_ = service.metadata.namespace_;
  endpoints.metadata.name = service.metadata.name;
  endpoints.metadata.labels = labels_of(service);
  endpoints.metadata.labels["endpoints.kubernetes.io/managed-by"] = "endpoint-controller";
  for (auto& [key, subset] : subsets) {
    sort_addresses(subset.addresses);
    sort_addresses(subset.not_ready_addresses);
    endpoints.subsets.push_back(std::move(subset));
  }
  if (truncate(endpoints.subsets)) endpoints.metadata.annotations[kOverCapacity] = "truncated";
  return endpoints;
}

}  // namespace keelson::controllers
