#include "agent/network/peers.h"

#include <fmt/core.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <optional>

namespace keelson::network {
namespace {

bool same_way(const host::Route& a, const host::Route& b) {
  return a.destination == b.destination && a.gateway == b.gateway;
}

// The link on which that address is a neighbour; 0 when no route of the kernel's own says so.
int link_towards(const api::IpAddress& address, const HostView& host) {
  int link = 0, longest = -1;
  for (const auto& one : host.addresses) {
    const auto network = api::Cidr::around(one.address, one.prefix);
    if (one.address.is_v4() != address.is_v4() || !network.contains(address) || one.prefix <= longest) continue;
    link = one.link;
    longest = one.prefix;
  }
  return link;
}

}  // namespace

PeerRoutes routes_to(const std::vector<Peer>& peers, const Networks& own, const HostView& host, const Names& names) {
  PeerRoutes result;
  for (const auto& peer : peers) {
    const bool ourselves = std::ranges::any_of(peer.addresses, [&](const auto& address) {
      return std::ranges::find(host.addresses, address, &host::InterfaceAddress::address) != host.addresses.end();
    });
    if (ourselves) {
      result.problems.push_back(fmt::format("node {} has an address of this host: no route to its pods", peer.name));
      continue;
    }
    for (const auto& cidr : peer.pod_cidrs) {
      const auto clashes = [&](const std::vector<api::Cidr>& networks) {
        return std::ranges::any_of(networks, [&](const auto& one) { return one.overlaps(cidr); });
      };
      // A Node object that names the host's own network must not cut the host off.
      const bool hosts = std::ranges::any_of(
          host.addresses, [&](const auto& one) { return api::Cidr::around(one.address, one.prefix).overlaps(cidr); });
      if (hosts || clashes(own.pods) || clashes(own.services)) {
        result.problems.push_back(fmt::format("node {}: its pod CIDR {} overlaps this node's networks: no route to it",
                                              peer.name, cidr.to_string()));
        continue;
      }
      const auto gateway = std::ranges::find(peer.addresses, cidr.is_v4(), &api::IpAddress::is_v4);
      if (gateway == peer.addresses.end()) {
        result.problems.push_back(fmt::format("node {} has no {} address: no route to its pods in {}", peer.name,
                                              cidr.is_v4() ? "IPv4" : "IPv6", cidr.to_string()));
        continue;
      }
      const int link = link_towards(*gateway, host);
      if (link == 0) {
        result.problems.push_back(
            fmt::format("node {}: {} is not in a network of this host's: no route to its pods in {}", peer.name,
                        gateway->to_string(), cidr.to_string()));
        continue;
      }
      const bool taken = std::ranges::any_of(
          result.wanted, [&](const host::Route& other) { return other.destination.overlaps(cidr); });
      if (taken) {
        result.problems.push_back(fmt::format("node {}: its pod CIDR {} is another node's already: no route to it",
                                              peer.name, cidr.to_string()));
        continue;
      }
      result.wanted.push_back(
          {.destination = cidr, .gateway = *gateway, .link = link, .metric = names.metric, .protocol = kRouteProtocol});
    }
  }
  return result;
}

bool is_peer_route(const host::Route& route, const Names& names) {
  return route.protocol == kRouteProtocol && route.type == RTN_UNICAST && route.gateway && route.metric == names.metric;
}

host::RouteBatch plan_peer_routes(const std::vector<host::Route>& wanted, const HostView& host, const Names& names) {
  host::RouteBatch batch;
  for (const auto& route : host.routes) {
    if (!is_peer_route(route, names)) continue;
    const bool replaced =
        std::ranges::any_of(wanted, [&](const auto& one) { return one.destination == route.destination; });
    if (!replaced) batch.delete_route(route);
  }
  for (const auto& route : wanted) {
    const bool there = std::ranges::any_of(
        host.routes, [&](const auto& one) { return is_peer_route(one, names) && same_way(one, route); });
    if (!there) batch.add_route(route);
  }
  return batch;
}

std::vector<api::Cidr> joined(std::vector<api::Cidr> networks) {
  const auto before = [](const api::Cidr& a, const api::Cidr& b) {
    if (a.is_v4() != b.is_v4()) return a.is_v4();
    if (a.address() != b.address()) return a.address() < b.address();
    return a.prefix() < b.prefix();
  };
  std::ranges::sort(networks, before);
  std::vector<api::Cidr> result;
  for (auto network : networks) {
    if (!result.empty() && result.back().contains(network)) continue;
    // As long as the one before is its other half, both become what holds them.
    while (!result.empty() && result.back().prefix() == network.prefix() && result.back().is_v4() == network.is_v4() &&
           network.prefix() > 0) {
      const auto both = api::Cidr::around(network.address(), network.prefix() - 1);
      if (!both.contains(result.back())) break;
      result.pop_back();
      network = both;
    }
    result.push_back(network);
  }
  return result;
}

}  // namespace keelson::network
