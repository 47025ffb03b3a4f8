#include "master/apiserver/service_allocation.h"

#include <fmt/core.h>

#include <algorithm>
#include <random>
#include <set>

namespace keelson::apiserver {

namespace {

constexpr std::string_view kIps = "/registry/ranges/serviceips/";
constexpr std::string_view kPorts = "/registry/ranges/servicenodeports/";
constexpr int kGuesses = 64;  // before the range is searched from one end to the other

bool wants_ip(const api::ServiceSpec& spec) { return spec.type != "ExternalName"; }
bool wants_ports(const api::ServiceSpec& spec) {
  return spec.type == "NodePort" ||
         (spec.type == "LoadBalancer" && spec.allocate_load_balancer_node_ports.value_or(true));
}
bool may_have_ports(const api::ServiceSpec& spec) { return spec.type == "NodePort" || spec.type == "LoadBalancer"; }

std::set<std::string> ips_of(const api::Service* service) {
  std::set<std::string> ips;
  if (service == nullptr || !wants_ip(service->spec)) return ips;
  for (const std::string& ip : service->spec.cluster_ips) {
    if (ip != "None") ips.insert(ip);
  }
  return ips;
}

std::set<int32_t> ports_of(const api::Service* service) {
  std::set<int32_t> ports;
  if (service == nullptr || !may_have_ports(service->spec)) return ports;
  for (const api::ServicePort& port : service->spec.ports) {
    if (port.node_port.value_or(0) != 0) ports.insert(*port.node_port);
  }
  if (service->spec.health_check_node_port.value_or(0) != 0) ports.insert(*service->spec.health_check_node_port);
  return ports;
}

class Allocation {
 public:
  Allocation(const Store& store, const RegistryOptions& options, Commit& commit)
      : store_(store), options_(options), commit_(commit) {}

  void ip(api::Service& service, const std::set<std::string>& had);
  void ports(api::Service& service, const std::set<int32_t>& had);
  void release(const std::string& key) { commit_.operations.emplace_back(etcd::Delete{.key = key}); }

  std::vector<api::FieldError> errors;

 private:
  bool taken(const std::string& key) const { return store_.ranges().contains(key) || taking_.contains(key); }
  void take(const std::string& key, const api::Service& service) {
    taking_.insert(key);
    commit_.compares.push_back({.key = key, .value = 0});
    commit_.operations.emplace_back(
        etcd::Put{.key = key, .value = fmt::format("{}/{}", service.metadata.namespace_, service.metadata.name)});
  }
  // A free one of `count`, tried from a random place on: two that pick at once seldom meet.
  template <typename Key>
  std::optional<uint64_t> pick(uint64_t count, Key key) {
    if (count == 0) return std::nullopt;
    for (int i = 0; i < kGuesses; ++i) {
      const uint64_t guess = std::uniform_int_distribution<uint64_t>(0, count - 1)(random_);
      if (!taken(key(guess))) return guess;
    }
    for (uint64_t i = 0; i < std::min<uint64_t>(count, 1u << 20); ++i) {
      if (!taken(key(i))) return i;
    }
    return std::nullopt;
  }
  void one_port(std::optional<int32_t>& port, const std::string& field, const api::Service& service,
                std::set<int32_t>& own, const std::set<int32_t>& had);

  const Store& store_;
  const RegistryOptions& options_;
  Commit& commit_;
  std::set<std::string> taking_;
  std::minstd_rand random_{std::random_device{}()};
};

std::string ip_key(std::string_view ip) { return fmt::format("{}{}", kIps, ip); }
std::string port_key(int32_t port) { return fmt::format("{}{}", kPorts, port); }

void Allocation::ip(api::Service& service, const std::set<std::string>& had) {
  api::ServiceSpec& spec = service.spec;
  const host::Cidr& range = options_.service_cluster_ips;
  if (spec.ip_families.empty()) spec.ip_families = {range.is_v4() ? "IPv4" : "IPv6"};
  if (spec.ip_family_policy.empty()) spec.ip_family_policy = "SingleStack";
  if (spec.cluster_ip.empty() && !spec.cluster_ips.empty()) spec.cluster_ip = spec.cluster_ips.front();
  if (spec.cluster_ip == "None") {
    spec.cluster_ips = {"None"};
    return;
  }
  const auto refuse = [&](const std::string& ip, std::string_view why) {
    errors.push_back(
        {"spec.clusterIPs", fmt::format("Invalid value: [\"{0}\"]: failed to allocate IP {0}: {1}", ip, why)});
  };
  if (!spec.cluster_ip.empty()) {
    spec.cluster_ips = {spec.cluster_ip};
    if (had.contains(spec.cluster_ip)) return;
    const auto address = host::IpAddress::parse(spec.cluster_ip);
    if (!address) return;  // the validator has said so
    if (!range.contains(*address) || *address == range.address() || (range.is_v4() && *address == range.last())) {
      return refuse(spec.cluster_ip,
                    fmt::format("the provided IP ({}) is not in the valid range. The range of valid IPs is {}",
                                spec.cluster_ip, range.to_string()));
    }
    if (taken(ip_key(spec.cluster_ip))) return refuse(spec.cluster_ip, "provided IP is already allocated");
    return take(ip_key(spec.cluster_ip), service);
  }
  // Those at the start are left to who asks for one by name (the first is the API's own).
  const uint64_t size = range.size();
  const uint64_t usable = size <= 2 ? 0 : size - 2;  // without the network's own and the last
  const uint64_t reserved = usable < 32 ? std::min<uint64_t>(usable, 1) : std::min<uint64_t>(usable / 16, 256);
  const auto address = [&](uint64_t n) { return range.at(1 + n)->to_string(); };
  auto found = pick(usable - reserved, [&](uint64_t n) { return ip_key(address(reserved + n)); });
  if (found) {
    *found += reserved;
  } else if (reserved > 1) {
    found = pick(reserved - 1, [&](uint64_t n) { return ip_key(address(1 + n)); });
    if (found) *found += 1;
  }
  if (!found) {
    errors.push_back({"spec.clusterIPs", "Invalid value: []: failed to allocate a serviceIP: range is full"});
    return;
  }
  spec.cluster_ip = address(*found);
  spec.cluster_ips = {spec.cluster_ip};
  take(ip_key(spec.cluster_ip), service);
}

void Allocation::one_port(std::optional<int32_t>& port, const std::string& field, const api::Service& service,
                          std::set<int32_t>& own, const std::set<int32_t>& had) {
  const int32_t first = options_.node_port_first, last = options_.node_port_last;
  if (port.value_or(0) == 0) {
    const auto found = pick(static_cast<uint64_t>(last - first) + 1,
                            [&](uint64_t n) { return port_key(first + static_cast<int32_t>(n)); });
    if (!found) {
      errors.push_back({field, "Invalid value: 0: failed to allocate a nodePort: range is full"});
      return;
    }
    port = first + static_cast<int32_t>(*found);
  } else {
    if (!own.insert(*port).second || had.contains(*port)) return;  // one port may serve two protocols
    if (*port < first || *port > last) {
      errors.push_back({field, fmt::format("Invalid value: {}: provided port is not in the valid range. The range of "
                                           "valid ports is {}-{}",
                                           *port, first, last)});
      return;
    }
    if (taken(port_key(*port))) {
      errors.push_back({field, fmt::format("Invalid value: {}: provided port is already allocated", *port)});
      return;
    }
  }
  own.insert(*port);
  take(port_key(*port), service);
}

void Allocation::ports(api::Service& service, const std::set<int32_t>& had) {
  std::set<int32_t> own;
  // Those that are named first, so that none of them is picked for another.
  for (const bool named : {true, false}) {
    for (size_t i = 0; i < service.spec.ports.size(); ++i) {
      auto& port = service.spec.ports[i].node_port;
      if ((port.value_or(0) != 0) != named || (!named && !wants_ports(service.spec))) continue;
      // One port for two protocols has one node port.
      for (const api::ServicePort& other : service.spec.ports) {
        if (!named && other.port == service.spec.ports[i].port && other.node_port.value_or(0) != 0) {
          port = other.node_port;
        }
      }
      if (!named && port.value_or(0) != 0) continue;
      one_port(port, fmt::format("spec.ports[{}].nodePort", i), service, own, had);
    }
  }
  const bool local = service.spec.type == "LoadBalancer" && service.spec.external_traffic_policy == "Local";
  if (local) one_port(service.spec.health_check_node_port, "spec.healthCheckNodePort", service, own, had);
}

}  // namespace

void drop_what_the_type_had(api::ServiceSpec& next, const api::ServiceSpec& current) {
  if (next.type == current.type) return;
  if (!wants_ip(next) && wants_ip(current) && next.cluster_ip == current.cluster_ip) {
    next.cluster_ip.clear();
    next.cluster_ips.clear();
    next.ip_families.clear();
    next.ip_family_policy.clear();
  }
  const auto is_external = [](const api::ServiceSpec& spec) {
    return may_have_ports(spec) || (spec.type == "ClusterIP" && !spec.external_ips.empty());
  };
  if (!is_external(next) && is_external(current) && next.external_traffic_policy == current.external_traffic_policy) {
    next.external_traffic_policy.clear();
  }
  if (!wants_ip(next) && next.internal_traffic_policy == current.internal_traffic_policy) {
    next.internal_traffic_policy.clear();
  }
  if (!may_have_ports(next) && may_have_ports(current)) {
    for (api::ServicePort& port : next.ports) {
      const bool same = std::ranges::any_of(
          current.ports, [&](const api::ServicePort& old) { return old.node_port == port.node_port; });
      if (same) port.node_port.reset();
    }
  }
  if (next.type != "LoadBalancer" && current.type == "LoadBalancer") {
    if (next.health_check_node_port == current.health_check_node_port) next.health_check_node_port.reset();
    if (next.allocate_load_balancer_node_ports == current.allocate_load_balancer_node_ports) {
      next.allocate_load_balancer_node_ports.reset();
    }
    if (next.load_balancer_class == current.load_balancer_class) next.load_balancer_class.clear();
  }
}

std::vector<api::FieldError> allocate(const Store& store, const RegistryOptions& options, api::Service* next,
                                      const api::Service* current, Commit& commit) {
  Allocation allocation(store, options, commit);
  const std::set<std::string> had_ips = ips_of(current);
  const std::set<int32_t> had_ports = ports_of(current);
  if (next != nullptr) {
    if (wants_ip(next->spec)) allocation.ip(*next, had_ips);
    if (may_have_ports(next->spec)) allocation.ports(*next, had_ports);
  }
  const std::set<std::string> ips = ips_of(next);
  for (const std::string& ip : had_ips) {
    if (!ips.contains(ip)) allocation.release(ip_key(ip));
  }
  const std::set<int32_t> ports = ports_of(next);
  for (const int32_t port : had_ports) {
    if (!ports.contains(port)) allocation.release(port_key(port));
  }
  return std::move(allocation.errors);
}

}  // namespace keelson::apiserver
