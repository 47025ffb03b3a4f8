#pragma once
// The ways to the pods of other nodes: a route to each node's pod CIDR by its address, in
// the families that both have. Pure.
//
// The nodes share a network (a gateway is reached without another hop); an overlay would
// be another implementation of the same list.

#include <string>
#include <vector>

#include "agent/network/host_setup.h"
#include "api/ip.h"

namespace keelson::network {

struct Peer {
  std::string name;
  std::vector<api::Cidr> pod_cidrs;
  std::vector<api::IpAddress> addresses;  // the node's own (InternalIP)
  bool operator==(const Peer&) const = default;
};

struct PeerRoutes {
  std::vector<host::Route> wanted;
  std::vector<std::string> problems;  // in words, what could not be
};
// `own` are this node's networks and addresses: a peer that claims them is a mistake (or
// this node under another name), and is left out.
PeerRoutes routes_to(const std::vector<Peer>& peers, const Networks& own, const HostView& host, const Names& names);

// Whether a route is one of those, made by this agent.
bool is_peer_route(const host::Route& route, const Names& names);

// Those not there yet, and those there that are not wanted any more.
host::RouteBatch plan_peer_routes(const std::vector<host::Route>& wanted, const HostView& host, const Names& names);

// The same addresses in as few networks as possible: what lies within another goes, two
// halves become one. 256 nodes in order of their CIDRs are one rule of nftables.
std::vector<api::Cidr> joined(std::vector<api::Cidr> networks);

}  // namespace keelson::network
