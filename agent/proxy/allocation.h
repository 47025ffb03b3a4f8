#pragma once
// Which ClusterIPs and NodePorts belong to which Service. Pure: the caller keeps the
// text in a file, so that a restart (and a reboot) keeps them.
//
// New values come from the upper part of a range, the lower part being for those
// that users choose (KEP-3070, KEP-3668); where the search starts is a hash of the
// Service's name, so that even without the file a Service tends to get its old one.

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/proxy/entry.h"
#include "api/object.h"
#include "host/error.h"
#include "host/ip.h"

namespace keelson::proxy {

struct AllocationRanges {
  std::vector<host::Cidr> service_cidrs;  // one per family at most; the first is the primary one
  uint16_t first_node_port = 30000, last_node_port = 32767;
};

class Allocations {
 public:
  explicit Allocations(AllocationRanges ranges) : ranges_(std::move(ranges)) {}

  // What text() gave earlier. After a failure (invalid) nothing has changed. Values
  // outside today's ranges are let go.
  host::Status load(std::string_view text);
  std::string text() const;

  struct Outcome {
    // All that were given, with clusterIP(s), ipFamilies, ipFamilyPolicy and nodePorts
    // filled; those that cannot have what they ask for are left out and have a problem.
    std::vector<api::Service> services;
    std::vector<api::Problem> problems;
    bool changed = false;  // text() differs from before
  };
  // The whole set, each time. With `release` what belongs to other Services is let go.
  Outcome assign(std::vector<api::Service> services, bool release);

 private:
  struct NodePort {
    Protocol protocol = Protocol::tcp;
    uint16_t port = 0;
    auto operator<=>(const NodePort&) const = default;
  };
  struct Held {
    std::vector<host::IpAddress> addresses;
    std::map<std::pair<Protocol, uint16_t>, uint16_t> node_ports;  // service port → node port
    bool operator==(const Held&) const = default;
  };

  std::optional<api::Problem> assign_addresses(api::Service& service, const ServiceName& name, bool given_only);
  std::optional<api::Problem> assign_node_ports(api::Service& service, const ServiceName& name, bool given_only);
  std::optional<host::IpAddress> free_address(const host::Cidr& range, const ServiceName& name) const;
  std::optional<uint16_t> free_node_port(Protocol protocol, uint16_t service_port, const ServiceName& name) const;
  const host::Cidr* range_of(bool v4) const;
  void hold_address(const ServiceName& name, const host::IpAddress& address);
  void drop_addresses(const ServiceName& name);
  void drop(const ServiceName& name);

  AllocationRanges ranges_;
  std::map<ServiceName, Held> held_;
  std::map<host::IpAddress, ServiceName> address_owner_;
  std::map<NodePort, ServiceName> node_port_owner_;
  std::vector<ServiceName> present_;  // during assign(): sorted
};

// How a Service is seen by the data plane.
bool is_headless(const api::Service& service);
bool is_external_name(const api::Service& service);
bool has_node_ports(const api::Service& service);

}  // namespace keelson::proxy
