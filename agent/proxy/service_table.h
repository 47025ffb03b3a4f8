#pragma once
// Services, Endpoints, EndpointSlices and Pods in; entries for the kernel out. Pure: no
// kernel, no clock. Work is in proportion to what changed: an object marks the ports that it
// may touch, take_changes() computes those and tells the ones that came out different.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/proxy/entry.h"
#include "api/endpoint_slice.h"
#include "api/object.h"
#include "host/ip.h"

namespace keelson::proxy {

// Where this node is: tells local endpoints (externalTrafficPolicy: Local) from others.
struct NodeView {
  std::string name;
  std::vector<host::IpAddress> addresses;
  std::vector<host::Cidr> pod_cidrs;
};

struct EntryChange {
  EntryKey key;
  std::optional<Entry> entry;  // absent: gone
};

class ServiceTable {
 public:
  explicit ServiceTable(NodeView node) : node_(std::move(node)) {}

  // `service` has its clusterIPs and nodePorts (Allocations).
  void set_service(api::Service service);
  void remove_service(const ServiceName& name);
  void set_endpoints(api::Endpoints endpoints);
  void remove_endpoints(const ServiceName& name);
  // Of a cluster. A Service with a selector has this node's own pods from set_pod(), which
  // knows them first and goes on without a master; its slices add those of other nodes. One
  // without a selector that has slices has no need of its Endpoints object.
  void set_slice(const api::EndpointSlice& slice);
  void remove_slice(const ServiceName& slice);
  // Where a slice's endpoints are.
  struct Place {
    ServiceName service;
    host::IpAddress address;
    uint16_t port = 0;
    Protocol protocol = Protocol::tcp;
    auto operator<=>(const Place&) const = default;
  };
  // Those that a slice named once and none of the service's names now; once each.
  std::vector<Place> take_departed();
  // With its status: podIPs, phase, the Ready condition; deletionTimestamp.
  void set_pod(const api::Pod& pod);
  void remove_pod(const ServiceName& name);

  // What differs from the last call, in the order of the keys.
  std::vector<EntryChange> take_changes();

  // All of it as of the last take_changes().
  const std::map<EntryKey, Entry>& entries() const { return entries_; }
  const std::map<ServiceName, api::Service>& services() const { return services_; }
  const std::map<ServiceName, api::Endpoints>& endpoints() const { return endpoints_; }
  // What is wrong with single services and could not be acted on.
  std::vector<api::Problem> problems() const;

 private:
  // What of a pod matters here; kept instead of the pod.
  struct Port {
    std::string name;
    uint16_t number = 0, host_port = 0;
    std::optional<Protocol> protocol;
    std::optional<host::IpAddress> host_address;
    bool operator==(const Port&) const = default;
  };
  struct PodView {
    std::map<std::string, std::string> labels;
    std::vector<host::IpAddress> addresses;
    std::vector<Port> ports;
    bool ready = false, terminating = false, running = false, host_network = false;
    bool operator==(const PodView&) const = default;
  };
  // What of a slice matters here.
  struct SlicePort {
    std::string name;
    Protocol protocol = Protocol::tcp;
    uint16_t number = 0;
    bool operator==(const SlicePort&) const = default;
  };
  struct SliceEndpoint {
    host::IpAddress address;
    bool ready = false, serving = false, terminating = false;
    std::string node, pod;
    bool operator==(const SliceEndpoint&) const = default;
  };
  struct SliceView {
    std::vector<SlicePort> ports;
    std::vector<SliceEndpoint> endpoints;
    bool operator==(const SliceView&) const = default;
  };
  using Label = std::pair<std::string, std::string>;
  using LabelKey = std::pair<std::string, Label>;  // namespace, label
  struct LabelKeyHash {
    size_t operator()(const LabelKey& key) const {
      const std::hash<std::string> hash;
      return (hash(key.first) * 31 + hash(key.second.first)) * 31 + hash(key.second.second);
    }
  };

  void touch_selecting(const ServiceName& pod, const PodView& view);
  void compute_service(const ServiceName& name, std::map<EntryKey, Entry>& out);
  void compute_host_ports(const ServiceName& name, std::map<EntryKey, Entry>& out) const;
  struct Found {
    std::vector<Target> ready, terminating;
  };
  std::vector<Target> targets_of(const api::Service& service, const api::ServicePort& port, Protocol protocol, bool v6,
                                 bool local_only) const;
  void find_given(const api::Service& service, const api::ServicePort& port, Protocol protocol, bool v6,
                  Found& found) const;
  void find_sliced(const api::Service& service, const api::ServicePort& port, Protocol protocol, bool v6,
                   Found& found) const;
  void find_pods(const api::Service& service, const api::ServicePort& port, Protocol protocol, bool v6,
                 Found& found) const;
  void depart(const ServiceName& service, const SliceView& view);
  bool is_local(const host::IpAddress& address) const;

  NodeView node_;
  std::map<ServiceName, api::Service> services_;
  std::map<ServiceName, api::Endpoints> endpoints_;
  std::unordered_map<ServiceName, PodView, ServiceNameHash> pods_;
  std::map<ServiceName, std::map<std::string, SliceView>> slices_;  // by service, by the slice's name
  std::map<ServiceName, ServiceName> slice_services_;               // of each slice
  std::set<Place> departed_;
  // Which pods bear a label, which services' selectors begin with one: the way from
  // one to the other without looking at all.
  std::unordered_map<LabelKey, std::set<std::string>, LabelKeyHash> pods_by_label_, services_by_label_;

  std::set<ServiceName> touched_services_, touched_pods_;
  std::map<EntryKey, Entry> entries_;
  std::map<ServiceName, std::vector<api::Problem>> problems_;
};

}  // namespace keelson::proxy
