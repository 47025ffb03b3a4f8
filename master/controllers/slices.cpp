// EndpointSlices: endpoints of one address family and with the same ports, a hundred each.
#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "host/ip.h"
#include "master/controllers/endpoint_parts.h"
#include "master/controllers/endpoints.h"

namespace keelson::controllers {

namespace {

using Port = std::tuple<std::string, std::string, int32_t, std::string>;  // name, protocol, port, application's

// What one slice may hold: endpoints with the same of all these.
struct Shelf {
  std::string address_type;
  std::vector<Port> ports;
  auto operator<=>(const Shelf&) const = default;
};
// Endpoints of a shelf by what identifies them: address and Pod.
using Identity = std::pair<std::string, std::string>;
using Wanted = std::map<Identity, api::Endpoint>;

Identity identity_of(const api::Endpoint& endpoint) {
  return {endpoint.addresses.empty() ? std::string() : endpoint.addresses.front(),
          endpoint.target_ref ? endpoint.target_ref->uid : std::string()};
}

Shelf shelf_of(const api::EndpointSlice& slice) {
  Shelf shelf{.address_type = slice.address_type, .ports = {}};
  for (const api::EndpointSlicePort& port : slice.ports) {
    shelf.ports.emplace_back(port.name, port.protocol, port.port.value_or(0), port.app_protocol);
  }
  std::sort(shelf.ports.begin(), shelf.ports.end());
  return shelf;
}

// What the slices of one Service have in common.
struct Cover {
  std::map<std::string, std::string> labels;
  std::vector<api::OwnerReference> owners;
  std::string namespace_, generate_name;
};

Cover cover_of(const api::Service& service, const char* manager) {
  Cover cover;
  cover.namespace_ = service.metadata.namespace_;
  cover.generate_name = service.metadata.name + "-";
  cover.labels = labels_of(service);
  cover.labels[kServiceNameLabel] = service.metadata.name;
  cover.labels[kManagedByLabel] = manager;
  cover.owners.push_back({.api_version = "v1",
                          .kind = "Service",
                          .name = service.metadata.name,
                          .uid = service.metadata.uid,
                          .controller = true,
                          .block_owner_deletion = true});
  return cover;
}

api::EndpointSlice new_slice(const Cover& cover, const Shelf& shelf) {
  api::EndpointSlice slice;
  slice.metadata.namespace_ = cover.namespace_;
  slice.metadata.generate_name = cover.generate_name;
  slice.metadata.labels = cover.labels;
  slice.metadata.owner_references = cover.owners;
  slice.address_type = shelf.address_type;
  for (const auto& [name, protocol, port, application] : shelf.ports) {
    slice.ports.push_back({.name = name,
                           .protocol = protocol,
                           .port = port == 0 ? std::nullopt : std::optional(port),
                           .app_protocol = application});
  }
  return slice;
}

// A slice that is there, with what stays of it.
struct Kept {
  SlicePtr before;
  api::EndpointSlice after;
  bool changed = false;
};

// Strikes from `wanted` what a slice holds already; what it should not hold leaves it.
Kept keep(const SlicePtr& slice, const Cover& cover, Wanted& wanted) {
  Kept kept{.before = slice, .after = *slice, .changed = false};
  kept.after.endpoints.clear();
  for (const api::Endpoint& endpoint : slice->endpoints) {
    const auto found = wanted.find(identity_of(endpoint));
    if (found == wanted.end()) {
      kept.changed = true;
      continue;
    }
    kept.changed = kept.changed || !(found->second == endpoint);
    kept.after.endpoints.push_back(std::move(found->second));
    wanted.erase(found);
  }
  if (slice->metadata.labels != cover.labels || slice->metadata.owner_references != cover.owners) {
    kept.after.metadata.labels = cover.labels;
    kept.after.metadata.owner_references = cover.owners;
    kept.changed = true;
  }
  return kept;
}

void fill(api::EndpointSlice& slice, Wanted& wanted) {
  while (!wanted.empty() && slice.endpoints.size() < kSliceSize) {
    slice.endpoints.push_back(std::move(wanted.begin()->second));
    wanted.erase(wanted.begin());
  }
}

void plan_shelf(const Shelf& shelf, Wanted wanted, const std::vector<SlicePtr>& existing, const Cover& cover,
                SlicePlan& plan) {
  std::vector<Kept> kept;
  for (const SlicePtr& slice : existing) kept.push_back(keep(slice, cover, wanted));
  // First those that are written anyway, the fullest first; then, if what is left fits into
  // one, the fullest of the others.
  std::sort(kept.begin(), kept.end(), [](const Kept& a, const Kept& b) {
    return std::tuple(!a.changed, -static_cast<int64_t>(a.after.endpoints.size()), a.before->metadata.name) <
           std::tuple(!b.changed, -static_cast<int64_t>(b.after.endpoints.size()), b.before->metadata.name);
  });
  for (Kept& slice : kept) {
    if (slice.changed) fill(slice.after, wanted);
  }
  while (wanted.size() >= kSliceSize) fill(plan.create.emplace_back(new_slice(cover, shelf)), wanted);
  if (!wanted.empty()) {
    const auto room = std::find_if(kept.begin(), kept.end(), [&](const Kept& slice) {
      return !slice.changed && slice.after.endpoints.size() + wanted.size() <= kSliceSize;
    });
    if (room != kept.end()) {
      room->changed = true;
      fill(room->after, wanted);
    } else {
      fill(plan.create.emplace_back(new_slice(cover, shelf)), wanted);
    }
  }
  for (Kept& slice : kept) {
    if (slice.after.endpoints.empty() && !slice.before->endpoints.empty()) {
      plan.remove.push_back(slice.before);
    } else if (slice.changed) {
      plan.update.push_back(std::move(slice.after));
    }
  }
}

SlicePlan plan_shelves(std::map<Shelf, Wanted> shelves, const std::vector<SlicePtr>& existing, const Cover& cover) {
  std::map<Shelf, std::vector<SlicePtr>> there;
  SlicePlan plan;
  for (const SlicePtr& slice : existing) {
    const Shelf shelf = shelf_of(*slice);
    // An empty one serves to say that there is nobody, as long as nobody is there.
    const bool in_use = shelves.contains(shelf) && (!slice->endpoints.empty() || shelves[shelf].empty());
    const bool surplus = slice->endpoints.empty() && !there[shelf].empty();
    if (!in_use || surplus) {
      plan.remove.push_back(slice);
    } else {
      there[shelf].push_back(slice);
    }
  }
  for (auto& [shelf, wanted] : shelves) {
    std::vector<SlicePtr>& slices = there[shelf];
    if (wanted.empty() && slices.empty()) {
      plan.create.push_back(new_slice(cover, shelf));
      continue;
    }
    const bool was_empty = wanted.empty();
    plan_shelf(shelf, std::move(wanted), slices, cover, plan);
    // Of a Service that loses its last endpoint one slice stays, empty.
    if (was_empty && !plan.remove.empty() && plan.update.empty() && plan.create.empty() && !slices.empty()) {
      const auto last = std::find(plan.remove.begin(), plan.remove.end(), slices.front());
      if (last == plan.remove.end()) continue;
      api::EndpointSlice emptied = **last;
      emptied.endpoints.clear();
      emptied.metadata.labels = cover.labels;
      emptied.metadata.owner_references = cover.owners;
      plan.remove.erase(last);
      plan.update.push_back(std::move(emptied));
    }
  }
  // An old slice takes the place of a new one with another shelf: a write less, and no gap.
  while (!plan.create.empty() && !plan.remove.empty()) {
    const auto same = std::find_if(plan.remove.begin(), plan.remove.end(), [&](const SlicePtr& slice) {
      return slice->address_type == plan.create.back().address_type;
    });
    if (same == plan.remove.end()) break;
    api::EndpointSlice reused = std::move(plan.create.back());
    reused.metadata = (*same)->metadata;
    reused.metadata.labels = cover.labels;
    reused.metadata.owner_references = cover.owners;
    plan.update.push_back(std::move(reused));
    plan.create.pop_back();
    plan.remove.erase(same);
  }
  return plan;
}

std::vector<std::string> addresses_of(const api::Pod& pod, const std::string& family) {
  std::vector<std::string> addresses;
  const auto add = [&](const std::string& text) {
    const auto parsed = host::IpAddress::parse(text);
    if (parsed && parsed->is_v4() == (family == "IPv4")) addresses.push_back(text);
  };
  for (const api::PodIP& ip : pod.status.pod_ips) add(ip.ip);
  if (addresses.empty()) add(pod.status.pod_ip);
  return addresses;
}

std::string protocol_of(const std::string& text) { return text.empty() ? "TCP" : text; }

}  // namespace

SlicePlan plan_slices(const api::Service& service, const std::vector<PodPtr>& pods,
                      const std::vector<SlicePtr>& existing,
                      const std::function<std::string(const std::string& node)>& zone_of) {
  std::map<Shelf, Wanted> shelves;
  const bool any_will_do = publishes_not_ready(service);
  for (const std::string& family : families_of(service)) {
    bool any = false;
    for (const PodPtr& pod : pods) {
      if (pod->status.phase == "Succeeded" || pod->status.phase == "Failed") continue;
      const auto addresses = addresses_of(*pod, family);
      if (addresses.empty()) continue;
      Shelf shelf{.address_type = family, .ports = {}};
      for (const api::ServicePort& port : service.spec.ports) {
        const auto number = port_on(*pod, port);
        if (number) shelf.ports.emplace_back(port.name, protocol_of(port.protocol), *number, port.app_protocol);
      }
      if (shelf.ports.empty() && !(is_headless(service) && service.spec.ports.empty())) continue;
      std::sort(shelf.ports.begin(), shelf.ports.end());
      const bool terminating = pod->metadata.deletion_timestamp.has_value();
      const bool serving = is_ready(*pod);
      api::Endpoint endpoint;
      endpoint.addresses = {addresses.front()};
      endpoint.conditions = {
          .ready = any_will_do || (serving && !terminating), .serving = serving, .terminating = terminating};
      endpoint.hostname = hostname_in(service, *pod);
      endpoint.target_ref = reference_to_pod(*pod);
      endpoint.node_name = pod->spec.node_name;
      endpoint.zone = zone_of(pod->spec.node_name);
      Identity identity = identity_of(endpoint);
      shelves[shelf].emplace(std::move(identity), std::move(endpoint));
      any = true;
    }
    if (!any) shelves[Shelf{.address_type = family, .ports = {}}];
  }
  return plan_shelves(std::move(shelves), existing, cover_of(service, kManager));
}

SlicePlan mirror_slices(const api::Service& service, const api::Endpoints& endpoints,
                        const std::vector<SlicePtr>& existing) {
  std::map<Shelf, Wanted> shelves;
  for (const api::EndpointSubset& subset : endpoints.subsets) {
    std::vector<Port> ports;
    for (const api::EndpointPort& port : subset.ports) {
      ports.emplace_back(port.name, protocol_of(port.protocol), port.port, port.app_protocol);
    }
    std::sort(ports.begin(), ports.end());
    const auto add = [&](const api::EndpointAddress& address, bool ready) {
      const auto parsed = host::IpAddress::parse(address.ip);
      if (!parsed) return;
      api::Endpoint endpoint;
      endpoint.addresses = {address.ip};
      endpoint.conditions.ready = ready;
      endpoint.hostname = address.hostname;
      endpoint.node_name = address.node_name;
      endpoint.target_ref = address.target_ref;
      Identity identity = identity_of(endpoint);
      shelves[{parsed->is_v4() ? "IPv4" : "IPv6", ports}].emplace(std::move(identity), std::move(endpoint));
    };
    for (const api::EndpointAddress& address : subset.addresses) add(address, true);
    for (const api::EndpointAddress& address : subset.not_ready_addresses) add(address, false);
  }
  Cover cover = cover_of(service, kMirrorManager);
  for (const auto& [name, value] : endpoints.metadata.labels) cover.labels.try_emplace(name, value);
  return plan_shelves(std::move(shelves), existing, cover);
}

}  // namespace keelson::controllers
