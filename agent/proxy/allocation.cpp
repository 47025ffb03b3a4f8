#include "agent/proxy/allocation.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

namespace keelson::proxy {

namespace {

using host::Cidr;
using host::IpAddress;

constexpr std::string_view kHeader = "# keelson: addresses and node ports of services, version 1";

// FNV-1a: the same on every machine and in every version, which std::hash is not.
uint64_t stable_hash(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash ^ (hash >> 29);
}

api::Problem problem(const ServiceName& name, std::string field, std::string message) {
  return {.object = "Service " + to_string(name), .field = std::move(field), .message = std::move(message)};
}

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    const auto end = std::min(line.find(' '), line.size());
    if (end > 0) words.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

std::optional<uint16_t> to_port(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

std::optional<Protocol> to_protocol(std::string_view text) {
  if (text == "TCP" || text.empty()) return Protocol::tcp;
  if (text == "UDP") return Protocol::udp;
  return std::nullopt;
}

ServiceName name_of(const api::Service& service) { return {service.metadata.namespace_, service.metadata.name}; }

std::vector<std::string> given_addresses(const api::Service& service) {
  if (!service.spec.cluster_ips.empty()) return service.spec.cluster_ips;
  if (!service.spec.cluster_ip.empty()) return {service.spec.cluster_ip};
  return {};
}

}  // namespace

bool is_headless(const api::Service& service) {
  const auto given = given_addresses(service);
  return !given.empty() && given.front() == "None";
}

bool is_external_name(const api::Service& service) { return service.spec.type == "ExternalName"; }

bool has_node_ports(const api::Service& service) {
  return service.spec.type == "NodePort" ||
         (service.spec.type == "LoadBalancer" && service.spec.allocate_load_balancer_node_ports.value_or(true));
}

host::Status Allocations::load(std::string_view text) {
  std::map<ServiceName, Held> held;
  std::map<IpAddress, ServiceName> address_owner;
  std::map<NodePort, ServiceName> node_port_owner;
  size_t line_number = 0;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line_number;
    if (line.empty() || line.front() == '#') continue;
    const auto broken = [&] {
      return host::fail(host::Error::Code::invalid, fmt::format("line {} is not an allocation", line_number));
    };
    const auto words = split(line);
    if (words.size() < 4) return broken();
    const ServiceName name{std::string(words[1]), std::string(words[2])};
    if (words[0] == "address" && words.size() == 4) {
      const auto address = IpAddress::parse(words[3]);
      if (!address || !address_owner.emplace(*address, name).second) return broken();
      const auto* range = range_of(address->is_v4());
      if (range == nullptr || !range->contains(*address)) {
        address_owner.erase(*address);
        continue;
      }
      held[name].addresses.push_back(*address);
    } else if (words[0] == "nodeport" && words.size() == 6) {
      const auto protocol = to_protocol(words[3]);
      const auto port = to_port(words[4]), node_port = to_port(words[5]);
      if (!protocol || !port || !node_port) return broken();
      if (*node_port < ranges_.first_node_port || *node_port > ranges_.last_node_port) continue;
      if (!node_port_owner.emplace(NodePort{*protocol, *node_port}, name).second) return broken();
      held[name].node_ports[{*protocol, *port}] = *node_port;
    } else {
      return broken();
    }
  }
  held_ = std::move(held);
  address_owner_ = std::move(address_owner);
  node_port_owner_ = std::move(node_port_owner);
  return {};
}

std::string Allocations::text() const {
  std::string text(kHeader);
  text += '\n';
  for (const auto& [name, held] : held_) {
    for (const auto& address : held.addresses)
      text += fmt::format("address {} {} {}\n", name.namespace_, name.name, address.to_string());
    for (const auto& [port, node_port] : held.node_ports)
      text += fmt::format("nodeport {} {} {} {} {}\n", name.namespace_, name.name, to_string(port.first), port.second,
                          node_port);
  }
  return text;
}

Allocations::Outcome Allocations::assign(std::vector<api::Service> services, bool release) {
  const auto before = held_;
  Outcome outcome;
  std::vector<ServiceName> names;
  names.reserve(services.size());
  for (const auto& service : services) names.push_back(name_of(service));
  present_ = names;
  std::sort(present_.begin(), present_.end());

  for (auto it = held_.begin(); release && it != held_.end();) {
    const auto name = (it++)->first;
    if (!std::binary_search(present_.begin(), present_.end(), name)) drop(name);
  }
  for (size_t i = 0; i < services.size(); ++i) {
    const auto& service = services[i];
    if (is_headless(service) || is_external_name(service)) drop(names[i]);
    if (has_node_ports(service)) continue;
    if (const auto it = held_.find(names[i]); it != held_.end()) {
      for (const auto& [port, node_port] : it->second.node_ports) node_port_owner_.erase({port.first, node_port});
      it->second.node_ports.clear();
    }
  }

  // What users chose comes before what we choose.
  std::vector<bool> refused(services.size());
  for (const bool given_only : {true, false}) {
    for (size_t i = 0; i < services.size(); ++i) {
      auto& service = services[i];
      if (refused[i] || is_external_name(service)) continue;
      const auto& name = names[i];
      auto wrong = is_headless(service) ? std::nullopt : assign_addresses(service, name, given_only);
      if (!wrong && !is_headless(service)) wrong = assign_node_ports(service, name, given_only);
      if (!wrong) continue;
      outcome.problems.push_back(std::move(*wrong));
      refused[i] = true;
    }
  }
  // In place: a Service is large, and there may be ten thousand.
  size_t kept = 0;
  for (size_t i = 0; i < services.size(); ++i) {
    if (refused[i]) continue;
    if (kept != i) services[kept] = std::move(services[i]);
    ++kept;
  }
  services.erase(services.begin() + static_cast<ptrdiff_t>(kept), services.end());
  outcome.services = std::move(services);
  outcome.changed = held_ != before;
  return outcome;
}

std::optional<api::Problem> Allocations::assign_addresses(api::Service& service, const ServiceName& name,
                                                          bool given_only) {
  const auto given = given_addresses(service);
  std::vector<IpAddress> chosen;
  for (const auto& text : given) {
    const auto address = IpAddress::parse(text);
    if (!address) return problem(name, "spec.clusterIPs", fmt::format("\"{}\" is not an IP address", text));
    const auto* range = range_of(address->is_v4());
    if (range == nullptr || !range->contains(*address))
      return problem(name, "spec.clusterIPs", fmt::format("{} is not in the service CIDR (--service-cidr)", text));
    if (const auto owner = address_owner_.find(*address); owner != address_owner_.end() && owner->second != name) {
      if (std::binary_search(present_.begin(), present_.end(), owner->second))
        return problem(name, "spec.clusterIPs",
                       fmt::format("{} belongs to service {}", text, to_string(owner->second)));
      drop(ServiceName(owner->second));
    }
    if (!chosen.empty() && chosen.front().is_v4() == address->is_v4())
      return problem(name, "spec.clusterIPs", "two addresses of one family");
    chosen.push_back(*address);
  }
  if (given_only) {
    if (chosen.empty()) return std::nullopt;
    auto& held = held_[name];
    // An address of a family that was not given stays if it is still wanted below.
    std::erase_if(held.addresses, [&](const IpAddress& old) {
      const bool replaced =
          std::ranges::any_of(chosen, [&](const IpAddress& now) { return now.is_v4() == old.is_v4() && now != old; });
      if (replaced) address_owner_.erase(old);
      return replaced;
    });
    for (const auto& address : chosen) hold_address(name, address);
    return std::nullopt;
  }

  // Which families, in which order (KEP-563).
  if (ranges_.service_cidrs.empty()) return problem(name, "spec.clusterIP", "no service CIDR is set (--service-cidr)");
  std::vector<bool> v4_wanted;
  for (const auto& address : chosen) v4_wanted.push_back(address.is_v4());
  for (const auto& family : service.spec.ip_families) {
    const bool v4 = family == "IPv4";
    if (!v4 && family != "IPv6")
      return problem(name, "spec.ipFamilies", fmt::format("\"{}\" is not IPv4 or IPv6", family));
    if (range_of(v4) == nullptr)
      return problem(name, "spec.ipFamilies", fmt::format("no service CIDR is {} (--service-cidr)", family));
    if (std::ranges::find(v4_wanted, v4) == v4_wanted.end()) v4_wanted.push_back(v4);
  }
  if (v4_wanted.empty()) v4_wanted.push_back(ranges_.service_cidrs.front().is_v4());
  auto policy = service.spec.ip_family_policy;
  if (policy.empty()) policy = v4_wanted.size() > 1 ? "RequireDualStack" : "SingleStack";
  if (policy == "SingleStack") {
    v4_wanted.resize(1);
  } else if (v4_wanted.size() == 1) {
    if (range_of(!v4_wanted.front()) != nullptr) {
      v4_wanted.push_back(!v4_wanted.front());
    } else if (policy == "RequireDualStack") {
      return problem(name, "spec.ipFamilyPolicy", "RequireDualStack, but the service CIDRs are of one family");
    }
  }

  std::vector<IpAddress> addresses;
  const auto held_before = held_[name].addresses;
  for (const bool v4 : v4_wanted) {
    const auto held =
        std::ranges::find_if(held_before, [&](const IpAddress& address) { return address.is_v4() == v4; });
    if (held != held_before.end()) {
      addresses.push_back(*held);
      continue;
    }
    const auto* range = range_of(v4);
    const auto address = free_address(*range, name);
    if (!address) {
      if (held_[name] == Held{}) held_.erase(name);
      return problem(name, "spec.clusterIP", fmt::format("no address is free in {}", range->to_string()));
    }
    addresses.push_back(*address);
  }
  if (addresses != held_before) {
    drop_addresses(name);
    for (const auto& address : addresses) hold_address(name, address);
  }
  service.spec.cluster_ips.clear();
  service.spec.ip_families.clear();
  for (const auto& address : addresses) {
    service.spec.cluster_ips.push_back(address.to_string());
    service.spec.ip_families.emplace_back(address.is_v4() ? "IPv4" : "IPv6");
  }
  service.spec.cluster_ip = service.spec.cluster_ips.front();
  service.spec.ip_family_policy = policy;
  return std::nullopt;
}

std::optional<api::Problem> Allocations::assign_node_ports(api::Service& service, const ServiceName& name,
                                                           bool given_only) {
  if (!has_node_ports(service)) return std::nullopt;
  std::map<std::pair<Protocol, uint16_t>, uint16_t> wanted;
  for (size_t i = 0; i < service.spec.ports.size(); ++i) {
    auto& port = service.spec.ports[i];
    const auto field = fmt::format("spec.ports[{}].nodePort", i);
    const auto protocol = to_protocol(port.protocol);
    if (!protocol || port.port < 1 || port.port > 65535) continue;  // the service table reports it
    const std::pair key{*protocol, static_cast<uint16_t>(port.port)};
    const int32_t given = port.node_port.value_or(0);
    if (given != 0) {
      if (given < ranges_.first_node_port || given > ranges_.last_node_port)
        return problem(name, field,
                       fmt::format("{} is outside {}-{} (--service-node-port-range)", given, ranges_.first_node_port,
                                   ranges_.last_node_port));
      const auto number = static_cast<uint16_t>(given);
      const auto owner = node_port_owner_.find({*protocol, number});
      if (owner != node_port_owner_.end() && owner->second != name) {
        if (std::binary_search(present_.begin(), present_.end(), owner->second))
          return problem(name, field, fmt::format("{} belongs to service {}", given, to_string(owner->second)));
        drop(ServiceName(owner->second));
      }
      node_port_owner_[{*protocol, number}] = name;
      wanted[key] = number;
      continue;
    }
    if (given_only) continue;
    const auto& held = held_[name].node_ports;
    uint16_t number = 0;
    if (const auto it = held.find(key); it != held.end()) {
      number = it->second;
    } else if (const auto free = free_node_port(*protocol, key.second, name)) {
      number = *free;
    } else {
      return problem(name, field, "no node port is free (--service-node-port-range)");
    }
    node_port_owner_[{*protocol, number}] = name;
    wanted[key] = number;
    port.node_port = number;
  }
  auto& held = held_[name].node_ports;
  for (const auto& [key, number] : held) {
    const auto it = wanted.find(key);
    if (it == wanted.end() && given_only) {
      wanted[key] = number;  // the second pass decides
      continue;
    }
    if (it != wanted.end() && it->second == number) continue;
    const bool moved = std::ranges::any_of(
        wanted, [&](const auto& other) { return other.first.first == key.first && other.second == number; });
    if (!moved) node_port_owner_.erase({key.first, number});
  }
  held = std::move(wanted);
  return std::nullopt;
}

std::optional<IpAddress> Allocations::free_address(const Cidr& range, const ServiceName& name) const {
  // The network's own address and IPv4's broadcast are nobody's.
  const uint64_t size = std::min<uint64_t>(range.size(), uint64_t{1} << 32);
  const uint64_t first = 1, end = range.is_v4() ? size - 1 : size;
  if (size < 4) return std::nullopt;
  const uint64_t reserved = std::min(std::clamp<uint64_t>(size / 16, 16, 256), (end - first) / 2);
  const auto search = [&](uint64_t from, uint64_t to) -> std::optional<IpAddress> {
    const uint64_t count = to - from;
    if (count == 0) return std::nullopt;
    const uint64_t start = stable_hash(to_string(name)) % count;
    // Each miss is an address that somebody holds, so this ends after as many steps at most.
    for (uint64_t i = 0; i < count && i <= address_owner_.size(); ++i) {
      const auto address = range.at(from + (start + i) % count);
      if (address && !address_owner_.contains(*address)) return address;
    }
    return std::nullopt;
  };
  if (const auto upper = search(first + reserved, end)) return upper;
  return search(first, first + reserved);
}

std::optional<uint16_t> Allocations::free_node_port(Protocol protocol, uint16_t service_port,
                                                    const ServiceName& name) const {
  const uint32_t first = ranges_.first_node_port, end = ranges_.last_node_port + 1u;
  if (end <= first) return std::nullopt;
  const uint32_t size = end - first;
  const uint32_t reserved = size < 32 ? 0 : std::clamp<uint32_t>(size / 32, 16, 128);
  const auto search = [&](uint32_t from, uint32_t to) -> std::optional<uint16_t> {
    const uint32_t count = to - from;
    if (count == 0) return std::nullopt;
    const auto start = stable_hash(fmt::format("{} {}", to_string(name), service_port)) % count;
    for (uint32_t i = 0; i < count; ++i) {
      const auto port = static_cast<uint16_t>(from + (start + i) % count);
      if (!node_port_owner_.contains({protocol, port})) return port;
    }
    return std::nullopt;
  };
  if (const auto upper = search(first + reserved, end)) return upper;
  return search(first, first + reserved);
}

const Cidr* Allocations::range_of(bool v4) const {
  for (const auto& range : ranges_.service_cidrs) {
    if (range.is_v4() == v4) return &range;
  }
  return nullptr;
}

void Allocations::hold_address(const ServiceName& name, const IpAddress& address) {
  auto& addresses = held_[name].addresses;
  if (std::ranges::find(addresses, address) == addresses.end()) addresses.push_back(address);
  address_owner_[address] = name;
}

void Allocations::drop_addresses(const ServiceName& name) {
  const auto it = held_.find(name);
  if (it == held_.end()) return;
  for (const auto& address : it->second.addresses) address_owner_.erase(address);
  it->second.addresses.clear();
}

void Allocations::drop(const ServiceName& name) {
  drop_addresses(name);
  const auto it = held_.find(name);
  if (it == held_.end()) return;
  for (const auto& [port, node_port] : it->second.node_ports) node_port_owner_.erase({port.first, node_port});
  held_.erase(it);
}

}  // namespace keelson::proxy
