#pragma once
// One pod's cable: a veth whose one end, eth0, is in the pod's network namespace. No
// bridge: the pod has its addresses by themselves (/32, /128) and a default route
// through a gateway address that no host has, 169.254.1.1 or fe80::1, which a permanent
// neighbour entry leads to the host's end; the host has a route and a neighbour entry
// for each address. So nothing is ever asked by ARP or neighbour discovery, IPv6 is
// usable at once, and no sysctl of the link matters. Blocking.

#include <string>
#include <vector>

#include "agent/network/names.h"
#include "api/ip.h"
#include "host/error.h"
#include "host/netlink.h"

namespace keelson::network {

struct PodLink {
  std::string uid;
  std::string name;  // of the host's end: Names::link(uid)
  std::vector<api::IpAddress> ips;
  uint32_t mtu = 0;
};

// Makes and configures it. `netlink` is a NETLINK_ROUTE socket from inside the pod's
// namespace, `network_namespace` a descriptor of that. What is there already is completed;
// a link of an earlier sandbox of the same pod makes way. After a failure it is removed.
host::Status connect_pod(const PodLink& link, int netlink, int network_namespace);

// Both ends, with the routes. A missing link is success.
host::Status disconnect_pod(const std::string& link_name);

}  // namespace keelson::network
