#pragma once
// What the host needs before its first pod: a check that our networks are nobody
// else's, unreachable routes under them, an nft table. Forwarding is forwarding.h's.
// The judgements are pure functions of what netlink listed; the rest blocks.

#include <vector>

#include "agent/network/names.h"
#include "api/ip.h"
#include "host/error.h"
#include "host/netlink.h"
#include "host/nft.h"

namespace keelson::network {

struct Networks {
  std::vector<api::Cidr> pods, services;
  std::vector<api::Cidr> peers = {};  // pod networks of other nodes; peers.h
};

struct HostView {
  std::vector<host::Link> links;
  std::vector<host::InterfaceAddress> addresses;
  std::vector<host::Route> routes;
};
host::Result<HostView> look_at_host(host::RouteSocket& socket);

// Invalid, naming every network of ours that overlaps another of ours, an address of the
// host or a route; default routes (and halves of them) and what Names says is our own
// excepted. At most one pod network of each family.
host::Status check_networks(const Networks& networks, const HostView& host, const Names& names);

// Whether a route was made by this agent.
bool is_ours(const host::Route& route, const HostView& host, const Names& names);

// The unreachable routes wanted and not there, and ours that are not wanted (any more).
host::RouteBatch plan_unreachable_routes(const Networks& networks, const HostView& host, const Names& names);

// One table: a pod cannot send with an address that is not its own (a fib lookup, the
// same rule for all pods), a connection from a pod to an address that nobody has is reset
// at once, and what leaves the pod networks (of all nodes) takes the host's address. The
// source ports of that stay above 32767, clear of NodePorts, which would catch the
// answers. Postrouting comes behind the service proxy's, whose translation wins.
host::nft::Table pod_table(const Networks& networks, const Names& names);

// The MTU of the link that the default route leads to (the least, with two); 0 when
// there is none.
uint32_t uplink_mtu(const HostView& host);

}  // namespace keelson::network
