#include "agent/proxy/service_table.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "agent/proxy/allocation.h"

namespace keelson::proxy {

namespace {

using host::IpAddress;

constexpr std::string_view kServiceNameLabel = "kubernetes.io/service-name";

// Kubernetes' default for sessionAffinity ClientIP.
constexpr int32_t kDefaultAffinitySeconds = 10800;

std::optional<Protocol> protocol_of(const std::string& text) {
  if (text.empty() || text == "TCP") return Protocol::tcp;
  if (text == "UDP") return Protocol::udp;
  return std::nullopt;
}

IpAddress any_address(bool v6) { return v6 ? IpAddress() : IpAddress::v4(0); }

bool selects(const std::map<std::string, std::string>& selector, const std::map<std::string, std::string>& labels) {
  return std::ranges::all_of(selector, [&](const auto& pair) {
    const auto it = labels.find(pair.first);
    return it != labels.end() && it->second == pair.second;
  });
}

std::optional<IpAddress> parse_address(const std::string& text) {
  const auto address = IpAddress::parse(text);
  return address ? std::optional(*address) : std::nullopt;
}

std::vector<IpAddress> parse_all(const std::vector<std::string>& texts) {
  std::vector<IpAddress> addresses;
  for (const auto& text : texts) {
    if (const auto address = IpAddress::parse(text)) addresses.push_back(*address);
  }
  return addresses;
}

template <typename Map, typename Key>
void erase_from(Map& index, const Key& key, const std::string& name) {
  const auto it = index.find(key);
  if (it == index.end()) return;
  it->second.erase(name);
  if (it->second.empty()) index.erase(it);
}

}  // namespace

void ServiceTable::set_service(api::Service service) {
  const ServiceName name{service.metadata.namespace_, service.metadata.name};
  if (const auto it = services_.find(name); it != services_.end()) {
    if (it->second == service) return;
    remove_service(name);
  }
  if (!service.spec.selector.empty())
    services_by_label_[{name.namespace_, *service.spec.selector.begin()}].insert(name.name);
  services_.emplace(name, std::move(service));
  touched_services_.insert(name);
}

void ServiceTable::remove_service(const ServiceName& name) {
  const auto it = services_.find(name);
  if (it == services_.end()) return;
  if (!it->second.spec.selector.empty())
    erase_from(services_by_label_, LabelKey{name.namespace_, *it->second.spec.selector.begin()}, name.name);
  services_.erase(it);
  touched_services_.insert(name);
}

void ServiceTable::set_endpoints(api::Endpoints endpoints) {
  ServiceName name{endpoints.metadata.namespace_, endpoints.metadata.name};
  auto& known = endpoints_[name];
  if (known == endpoints) return;
  known = std::move(endpoints);
  touched_services_.insert(std::move(name));
}

void ServiceTable::remove_endpoints(const ServiceName& name) {
  if (endpoints_.erase(name) > 0) touched_services_.insert(name);
}

void ServiceTable::set_slice(const api::EndpointSlice& slice) {
  const ServiceName name{slice.metadata.namespace_, slice.metadata.name};
  const auto owner = slice.metadata.labels.find(std::string(kServiceNameLabel));
  if (owner == slice.metadata.labels.end() || slice.address_type == "FQDN") return remove_slice(name);
  SliceView view;
  for (const auto& port : slice.ports) {
    const auto protocol = protocol_of(port.protocol);
    if (!protocol || !port.port || *port.port < 1 || *port.port > 65535) continue;
    view.ports.push_back({port.name, *protocol, static_cast<uint16_t>(*port.port)});
  }
  for (const auto& endpoint : slice.endpoints) {
    // Several addresses of one endpoint are the same backend (and deprecated): the first is it.
    const auto address = endpoint.addresses.empty() ? std::nullopt : parse_address(endpoint.addresses.front());
    if (!address) continue;
    const bool ready = endpoint.conditions.ready.value_or(true);
    view.endpoints.push_back({.address = *address,
                              .ready = ready,
                              .serving = endpoint.conditions.serving.value_or(ready),
                              .terminating = endpoint.conditions.terminating.value_or(false),
                              .node = endpoint.node_name,
                              .pod = endpoint.target_ref ? endpoint.target_ref->name : ""});
  }
  const ServiceName service{slice.metadata.namespace_, owner->second};
  if (const auto before = slice_services_.find(name); before != slice_services_.end() && before->second != service)
    remove_slice(name);
  auto& known = slices_[service][name.name];
  const bool fresh = slice_services_.emplace(name, service).second;
  if (!fresh && known == view) return;
  depart(service, known);
  known = std::move(view);
  touched_services_.insert(service);
}

void ServiceTable::remove_slice(const ServiceName& slice) {
  const auto owner = slice_services_.find(slice);
  if (owner == slice_services_.end()) return;
  const auto service = owner->second;
  slice_services_.erase(owner);
  auto& slices = slices_.at(service);
  depart(service, slices.at(slice.name));
  slices.erase(slice.name);
  if (slices.empty()) slices_.erase(service);
  touched_services_.insert(service);
}

// Every place of the view; those that stay (in this slice or in another) are sorted out at the end.
void ServiceTable::depart(const ServiceName& service, const SliceView& view) {
  for (const auto& endpoint : view.endpoints) {
    for (const auto& port : view.ports) departed_.insert({service, endpoint.address, port.number, port.protocol});
  }
}

std::vector<ServiceTable::Place> ServiceTable::take_departed() {
  std::vector<Place> gone;
  auto places = std::exchange(departed_, {});
  for (auto it = places.begin(); it != places.end();) {
    const ServiceName service = it->service;
    std::set<Place> present;
    if (const auto slices = slices_.find(service); slices != slices_.end()) {
      for (const auto& [name, view] : slices->second) {
        for (const auto& endpoint : view.endpoints)
          for (const auto& port : view.ports) present.insert({service, endpoint.address, port.number, port.protocol});
      }
    }
    for (; it != places.end() && it->service == service; ++it) {
      if (!present.contains(*it)) gone.push_back(*it);
    }
  }
  return gone;
}

void ServiceTable::set_pod(const api::Pod& pod) {
  const ServiceName name{pod.metadata.namespace_, pod.metadata.name};
  PodView view;
  view.labels = pod.metadata.labels;
  view.host_network = pod.spec.host_network.value_or(false);
  std::vector<std::string> addresses;
  for (const auto& ip : pod.status.pod_ips) addresses.push_back(ip.ip);
  if (addresses.empty() && !pod.status.pod_ip.empty()) addresses.push_back(pod.status.pod_ip);
  view.addresses = parse_all(addresses);
  if (view.addresses.empty() && view.host_network) view.addresses = node_.addresses;
  view.running = pod.status.phase == "Running" || pod.status.phase == "Pending";
  view.terminating = pod.metadata.deletion_timestamp.has_value();
  view.ready = std::ranges::any_of(pod.status.conditions, [](const api::PodCondition& condition) {
    return condition.type == "Ready" && condition.status == "True";
  });
  const auto add_ports = [&](const api::Container& container) {
    for (const auto& port : container.ports) {
      Port seen{.name = port.name,
                .number = static_cast<uint16_t>(port.container_port),
                .host_port = static_cast<uint16_t>(port.host_port.value_or(0)),
                .protocol = protocol_of(port.protocol),
                .host_address = std::nullopt};
      if (const auto address = IpAddress::parse(port.host_ip); address && !address->is_unspecified())
        seen.host_address = *address;
      view.ports.push_back(std::move(seen));
    }
  };
  for (const auto& container : pod.spec.containers) add_ports(container);
  // Sidecars (KEP-753) serve as long as the pod does.
  for (const auto& container : pod.spec.init_containers) {
    if (container.restart_policy == "Always") add_ports(container);
  }

  if (const auto it = pods_.find(name); it != pods_.end()) {
    if (it->second == view) return;
    remove_pod(name);
  }
  for (const auto& label : view.labels) pods_by_label_[{name.namespace_, label}].insert(name.name);
  touch_selecting(name, view);
  pods_.emplace(name, std::move(view));
}

void ServiceTable::remove_pod(const ServiceName& name) {
  const auto it = pods_.find(name);
  if (it == pods_.end()) return;
  for (const auto& label : it->second.labels) erase_from(pods_by_label_, LabelKey{name.namespace_, label}, name.name);
  touch_selecting(name, it->second);
  pods_.erase(it);
}

void ServiceTable::touch_selecting(const ServiceName& pod, const PodView& view) {
  for (const auto& label : view.labels) {
    const auto candidates = services_by_label_.find({pod.namespace_, label});
    if (candidates == services_by_label_.end()) continue;
    for (const auto& service : candidates->second) {
      ServiceName name{pod.namespace_, service};
      if (selects(services_.at(name).spec.selector, view.labels)) touched_services_.insert(std::move(name));
    }
  }
  if (std::ranges::any_of(view.ports, [](const Port& port) { return port.host_port != 0; })) touched_pods_.insert(pod);
}

bool ServiceTable::is_local(const IpAddress& address) const {
  return std::ranges::find(node_.addresses, address) != node_.addresses.end() ||
         std::ranges::any_of(node_.pod_cidrs, [&](const host::Cidr& cidr) { return cidr.contains(address); });
}

// As an Endpoints object names them.
void ServiceTable::find_given(const api::Service& service, const api::ServicePort& port, Protocol protocol, bool v6,
                              Found& found) const {
  const auto it = endpoints_.find({service.metadata.namespace_, service.metadata.name});
  if (it == endpoints_.end()) return;
  for (const auto& subset : it->second.subsets) {
    // By name, as the API wants it; a single nameless port stands for any.
    const auto match = std::ranges::find_if(subset.ports, [&](const api::EndpointPort& offered) {
      return offered.name == port.name && protocol_of(offered.protocol) == protocol;
    });
    if (match == subset.ports.end() || match->port < 1 || match->port > 65535) continue;
    const auto add = [&](const std::vector<api::EndpointAddress>& addresses) {
      for (const auto& given : addresses) {
        const auto address = IpAddress::parse(given.ip);
        if (!address || address->is_v4() == v6) continue;
        const bool local =
            !given.node_name.empty() && !node_.name.empty() ? given.node_name == node_.name : is_local(*address);
        found.ready.push_back({.address = *address,
                               .port = static_cast<uint16_t>(match->port),
                               .local = local,
                               .pod = given.target_ref ? given.target_ref->name : ""});
      }
    };
    add(subset.addresses);
    if (service.spec.publish_not_ready_addresses.value_or(false)) add(subset.not_ready_addresses);
  }
}

// As EndpointSlices name them; of a Service with a selector only those of other nodes.
void ServiceTable::find_sliced(const api::Service& service, const api::ServicePort& port, Protocol protocol, bool v6,
                               Found& found) const {
  const auto slices = slices_.find({service.metadata.namespace_, service.metadata.name});
  if (slices == slices_.end()) return;
  const bool own_known = !service.spec.selector.empty();
  const bool not_ready_too = service.spec.publish_not_ready_addresses.value_or(false);
  for (const auto& [name, slice] : slices->second) {
    const auto match = std::ranges::find_if(slice.ports, [&](const SlicePort& offered) {
      return offered.name == port.name && offered.protocol == protocol;
    });
    if (match == slice.ports.end()) continue;
    for (const auto& endpoint : slice.endpoints) {
      if (endpoint.address.is_v4() == v6) continue;
      const bool local =
          !endpoint.node.empty() && !node_.name.empty() ? endpoint.node == node_.name : is_local(endpoint.address);
      if (local && own_known) continue;
      const bool ready = endpoint.ready || (not_ready_too && !endpoint.terminating);
      if (!ready && !(endpoint.serving && endpoint.terminating)) continue;
      (ready ? found.ready : found.terminating)
          .push_back({.address = endpoint.address, .port = match->number, .local = local, .pod = endpoint.pod});
    }
  }
}

// This node's own, as its pods say themselves.
void ServiceTable::find_pods(const api::Service& service, const api::ServicePort& port, Protocol protocol, bool v6,
                             Found& found) const {
  const bool not_ready_too = service.spec.publish_not_ready_addresses.value_or(false);
  const auto& target_port = port.target_port;
  const auto candidates = pods_by_label_.find({service.metadata.namespace_, *service.spec.selector.begin()});
  if (candidates == pods_by_label_.end()) return;
  for (const auto& pod_name : candidates->second) {
    const auto& pod = pods_.at({service.metadata.namespace_, pod_name});
    if (!pod.running || !selects(service.spec.selector, pod.labels)) continue;
    if (!pod.ready && !not_ready_too) continue;
    uint16_t number = static_cast<uint16_t>(port.port);
    if (target_port && target_port->is_string) {
      const auto named = std::ranges::find_if(pod.ports, [&](const Port& offered) {
        return offered.name == target_port->text && offered.protocol == protocol;
      });
      if (named == pod.ports.end()) continue;  // this pod does not offer it
      number = named->number;
    } else if (target_port && target_port->number != 0) {
      number = static_cast<uint16_t>(target_port->number);
    }
    const auto address = std::ranges::find_if(pod.addresses, [&](const IpAddress& one) { return one.is_v4() != v6; });
    if (address == pod.addresses.end() || number == 0) continue;
    auto& list = pod.terminating && !not_ready_too ? found.terminating : found.ready;
    list.push_back({.address = *address, .port = number, .local = true, .pod = pod_name});
  }
}

std::vector<Target> ServiceTable::targets_of(const api::Service& service, const api::ServicePort& port,
                                             Protocol protocol, bool v6, bool local_only) const {
  Found found;
  const bool sliced = slices_.contains({service.metadata.namespace_, service.metadata.name});
  if (!service.spec.selector.empty()) find_pods(service, port, protocol, v6, found);
  if (sliced) {
    find_sliced(service, port, protocol, v6, found);
  } else if (service.spec.selector.empty()) {
    find_given(service, port, protocol, v6, found);
  }
  auto& [ready, terminating] = found;
  if (local_only) {
    std::erase_if(ready, [](const Target& target) { return !target.local; });
    std::erase_if(terminating, [](const Target& target) { return !target.local; });
  }
  for (auto& target : terminating) target.state = ready.empty() ? Target::State::terminating : Target::State::draining;
  ready.insert(ready.end(), terminating.begin(), terminating.end());
  std::ranges::sort(ready);
  const auto same_place = [](const Target& a, const Target& b) { return a.address == b.address && a.port == b.port; };
  const auto duplicates = std::ranges::unique(ready, same_place);
  ready.erase(duplicates.begin(), duplicates.end());
  return std::move(ready);
}

void ServiceTable::compute_service(const ServiceName& name, std::map<EntryKey, Entry>& out) {
  problems_.erase(name);
  const auto it = services_.find(name);
  if (it == services_.end()) return;
  const auto& service = it->second;
  const auto& spec = service.spec;
  if (is_external_name(service) || is_headless(service)) return;
  // KEP-2447: another proxy takes care of it.
  if (service.metadata.labels.contains("service.kubernetes.io/service-proxy-name")) return;

  uint32_t affinity_seconds = 0;
  if (spec.session_affinity == "ClientIP") {
    int32_t seconds = kDefaultAffinitySeconds;
    if (spec.session_affinity_config && spec.session_affinity_config->client_ip)
      seconds = spec.session_affinity_config->client_ip->timeout_seconds.value_or(seconds);
    affinity_seconds = static_cast<uint32_t>(std::clamp(seconds, 1, 86400));
  }
  const auto cluster_ips = parse_all(spec.cluster_ips.empty() ? std::vector{spec.cluster_ip} : spec.cluster_ips);
  auto outside = parse_all(spec.external_ips);
  if (spec.type == "LoadBalancer") {
    for (const auto& ingress : service.status.load_balancer.ingress) {
      if (ingress.ip_mode == "Proxy") continue;  // KEP-1860: must pass through the balancer
      if (const auto address = IpAddress::parse(ingress.ip)) outside.push_back(*address);
    }
  }

  for (size_t i = 0; i < spec.ports.size(); ++i) {
    const auto& port = spec.ports[i];
    const auto protocol = protocol_of(port.protocol);
    if (!protocol || port.port < 1 || port.port > 65535) {
      problems_[name].push_back({.severity = api::Problem::Severity::warning,
                                 .object = "Service " + to_string(name),
                                 .field = fmt::format("spec.ports[{}].protocol", i),
                                 .message = fmt::format("{} is not balanced: only TCP and UDP are", port.protocol)});
      continue;
    }
    for (const auto& cluster_ip : cluster_ips) {
      const bool v6 = !cluster_ip.is_v4();
      const PortKey key{name, static_cast<uint16_t>(port.port), *protocol, v6};
      Entry internal{.affinity_seconds = affinity_seconds};
      internal.vips.push_back({cluster_ip, key.port, *protocol, false});
      internal.targets = targets_of(service, port, *protocol, v6, spec.internal_traffic_policy == "Local");
      out[{key, Traffic::internal}] = std::move(internal);

      Entry external{.affinity_seconds = affinity_seconds, .consistent = true};
      if (has_node_ports(service) && port.node_port.value_or(0) > 0) {
        external.vips.push_back({any_address(v6), static_cast<uint16_t>(*port.node_port), *protocol, true});
        external.guards_port = true;
      }
      for (const auto& address : outside) {
        if (address.is_v4() != v6) external.vips.push_back({address, key.port, *protocol, false});
      }
      if (external.vips.empty()) continue;
      std::ranges::sort(external.vips);
      external.targets = targets_of(service, port, *protocol, v6, spec.external_traffic_policy == "Local");
      out[{key, Traffic::external}] = std::move(external);
    }
  }
}

void ServiceTable::compute_host_ports(const ServiceName& name, std::map<EntryKey, Entry>& out) const {
  const auto it = pods_.find(name);
  if (it == pods_.end()) return;
  const auto& pod = it->second;
  if (pod.host_network || !pod.running) return;  // a process of the node's own needs no help
  for (const auto& port : pod.ports) {
    if (port.host_port == 0 || port.number == 0 || !port.protocol) continue;
    for (const auto& address : pod.addresses) {
      const bool v6 = !address.is_v4();
      if (port.host_address && port.host_address->is_v4() == v6) continue;
      Entry entry;
      entry.vips.push_back({port.host_address.value_or(any_address(v6)), port.host_port, *port.protocol, true});
      entry.targets.push_back({.address = address, .port = port.number, .local = true, .pod = name.name});
      out[{{name, port.host_port, *port.protocol, v6}, Traffic::host_port}] = std::move(entry);
    }
  }
}

std::vector<EntryChange> ServiceTable::take_changes() {
  std::vector<EntryChange> changes;
  const auto compare = [&](const ServiceName& name, bool host_ports, std::map<EntryKey, Entry> now) {
    const auto mine = [&](const EntryKey& key) {
      return key.port.service == name && (key.traffic == Traffic::host_port) == host_ports;
    };
    for (auto it = entries_.lower_bound({{name, 0, Protocol{}, false}, Traffic{}});
         it != entries_.end() && it->first.port.service == name;) {
      const auto old = it++;
      if (!mine(old->first)) continue;
      if (const auto match = now.find(old->first); match == now.end()) {
        changes.push_back({old->first, std::nullopt});
        entries_.erase(old);
      } else if (match->second == old->second) {
        now.erase(match);
      }
    }
    for (auto& [key, entry] : now) {
      changes.push_back({key, entry});
      entries_.insert_or_assign(key, std::move(entry));
    }
  };
  for (const auto& name : std::exchange(touched_services_, {})) {
    std::map<EntryKey, Entry> now;
    compute_service(name, now);
    compare(name, false, std::move(now));
  }
  for (const auto& name : std::exchange(touched_pods_, {})) {
    std::map<EntryKey, Entry> now;
    compute_host_ports(name, now);
    compare(name, true, std::move(now));
  }
  if (!std::ranges::is_sorted(changes, {}, &EntryChange::key)) std::ranges::sort(changes, {}, &EntryChange::key);
  return changes;
}

std::vector<api::Problem> ServiceTable::problems() const {
  std::vector<api::Problem> all;
  for (const auto& [name, problems] : problems_) all.insert(all.end(), problems.begin(), problems.end());
  return all;
}

}  // namespace keelson::proxy
