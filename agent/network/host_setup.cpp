#include "agent/network/host_setup.h"

#include <fmt/core.h>
#include <fmt/format.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include <algorithm>
#include <utility>

#include "agent/network/peers.h"

namespace keelson::network {
namespace {

constexpr uint16_t kFirstSourcePort = 32768, kLastSourcePort = 65535;

std::string link_name(const HostView& host, int index) {
  const auto link = std::ranges::find(host.links, index, &host::Link::index);
  return link == host.links.end() ? fmt::format("link {}", index) : link->name;
}

bool is_our_link(const HostView& host, int index, const Names& names) {
  const auto link = std::ranges::find(host.links, index, &host::Link::index);
  return link != host.links.end() && link->kind == "veth" && link->name.starts_with(names.link_prefix);
}

std::string describe(const HostView& host, const host::Route& route) {
  if (route.type == RTN_UNREACHABLE || route.type == RTN_BLACKHOLE || route.type == RTN_PROHIBIT) {
    return fmt::format("the host's unreachable route to {}{}", route.destination.to_string(),
                       route.protocol == kRouteProtocol ? " (of another keelson agent)" : "");
  }
  return fmt::format("the host's route to {} on {}", route.destination.to_string(), link_name(host, route.link));
}

// Routes that say nothing about who owns the addresses: a default route and its two halves
// (as VPN clients write it), IPv6's to all global addresses and to multicast.
bool is_sweeping(const host::Route& route) {
  return route.destination.prefix() <= 1 || (!route.destination.is_v4() && route.destination.prefix() <= 3) ||
         route.destination.address().is_multicast() || route.type == RTN_BROADCAST || route.type == RTN_MULTICAST;
}

}  // namespace

host::Result<HostView> look_at_host(host::RouteSocket& socket) {
  HostView view;
  auto links = socket.links();
  if (!links) return std::unexpected(std::move(links.error()));
  auto addresses = socket.addresses();
  if (!addresses) return std::unexpected(std::move(addresses.error()));
  auto routes = socket.routes();
  if (!routes) return std::unexpected(std::move(routes.error()));
  return HostView{std::move(*links), std::move(*addresses), std::move(*routes)};
}

bool is_ours(const host::Route& route, const HostView& host, const Names& names) {
  if (route.protocol != kRouteProtocol) return false;
  if (route.type == RTN_UNREACHABLE) return route.metric == names.metric;
  return is_peer_route(route, names) || is_our_link(host, route.link, names);
}

host::Status check_networks(const Networks& networks, const HostView& host, const Names& names) {
  std::vector<std::pair<const char*, api::Cidr>> ours;
  for (const auto& cidr : networks.pods) ours.emplace_back("pod", cidr);
  for (const auto& cidr : networks.services) ours.emplace_back("service", cidr);

  std::vector<std::string> problems;
  for (const bool v4 : {true, false})
    if (std::ranges::count(networks.pods, v4, &api::Cidr::is_v4) > 1)
      problems.push_back(fmt::format("more than one {} pod CIDR", v4 ? "IPv4" : "IPv6"));
  for (size_t i = 0; i < ours.size(); ++i) {
    const auto& [kind, cidr] = ours[i];
    const auto clash = [&, kind = kind, cidr = cidr](const std::string& with) {
      auto problem = fmt::format("the {} CIDR {} overlaps {}", kind, cidr.to_string(), with);
      if (std::ranges::find(problems, problem) == problems.end()) problems.push_back(std::move(problem));
    };
    for (size_t j = 0; j < i; ++j)
      if (cidr.overlaps(ours[j].second))
        clash(fmt::format("the {} CIDR {}", ours[j].first, ours[j].second.to_string()));
    for (const auto& address : host.addresses)
      if (cidr.overlaps(api::Cidr::around(address.address, address.prefix)) && !is_our_link(host, address.link, names))
        clash(fmt::format("the host's address {}/{} on {}", address.address.to_string(), address.prefix,
                          link_name(host, address.link)));
    for (const auto& route : host.routes) {
      if (is_sweeping(route) || is_ours(route, host, names) || !cidr.overlaps(route.destination)) continue;
      // What the kernel itself derives from an address is reported as the address.
      if (route.protocol == RTPROT_KERNEL || route.type == RTN_LOCAL || is_our_link(host, route.link, names)) continue;
      clash(describe(host, route));
    }
  }
  if (problems.empty()) return {};
  return host::fail(host::Error::Code::invalid,
                    fmt::format("{}: choose others with --pod-cidr and --service-cidr", fmt::join(problems, "; ")));
}

host::RouteBatch plan_unreachable_routes(const Networks& networks, const HostView& host, const Names& names) {
  std::vector<api::Cidr> wanted = networks.services;
  wanted.insert(wanted.end(), networks.pods.begin(), networks.pods.end());
  const auto route_to = [&](const api::Cidr& destination) {
    return host::Route{
        .destination = destination, .metric = names.metric, .protocol = kRouteProtocol, .type = RTN_UNREACHABLE};
  };
  const auto ours = [&](const host::Route& route) {
    return route.type == RTN_UNREACHABLE && is_ours(route, host, names);
  };
  host::RouteBatch batch;
  for (const auto& cidr : wanted)
    if (std::ranges::none_of(host.routes, [&](const auto& route) { return ours(route) && route.destination == cidr; }))
      batch.add_route(route_to(cidr));
  for (const auto& route : host.routes)
    if (ours(route) && std::ranges::find(wanted, route.destination) == wanted.end())
      batch.delete_route(route_to(route.destination));
  return batch;
}

host::nft::Table pod_table(const Networks& networks, const Names& names) {
  namespace nft = host::nft;
  const auto pods = names.link_prefix + "*";

  nft::Chain from_pods{.name = "from-pods",
                       .base = nft::BaseChain{nft::ChainType::filter, nft::Hook::prerouting, nft::kPriorityRaw}};
  // What a pod says on its link alone (multicast reports, advertisements) has no hearer.
  for (const auto* silent : {"fe80::/10", "::/128"})
    from_pods.rules.push_back(
        {.match = {nft::MatchInterface{.name = pods}, nft::from(*api::Cidr::parse(silent))}, .action = nft::Drop{}});
  from_pods.rules.push_back({.match = {nft::MatchInterface{.name = pods}, nft::MatchSpoofed{}},
                             .action = nft::Drop{},
                             .counter = true,
                             .comment = "a source address that is not the pod's own"});

  // A pod's connect() still holds its socket when an ICMP error comes back within the same
  // call, and then only tries again a second later (tcp_v4_err: sock_owned_by_user). A
  // reset is queued for it instead.
  nft::Chain to_nobody{.name = "to-nobody",
                       .base = nft::BaseChain{nft::ChainType::filter, nft::Hook::prerouting, nft::kPriorityFilter}};
  for (const auto* cidrs : {&networks.pods, &networks.services})
    for (const auto& inside : *cidrs)
      to_nobody.rules.push_back(
          {.match = {nft::MatchInterface{.name = pods}, nft::MatchConnectionState{nft::MatchConnectionState::kNew},
                     nft::MatchProtocol{IPPROTO_TCP}, nft::to(inside), nft::MatchUnreachable{}},
           .action = nft::Reject{nft::Reject::tcp_reset}});

  nft::Chain leaving{.name = "leaving",
                     .base = nft::BaseChain{nft::ChainType::nat, nft::Hook::postrouting, nft::kPrioritySrcNat + 10}};
  for (const auto& source : networks.pods) {
    std::vector<nft::Match> leaves{nft::MatchInterface{.output = true, .name = pods, .negate = true},
                                   nft::from(source)};
    for (const auto* cidrs : {&networks.pods, &networks.services, &networks.peers})
      for (const auto& inside : *cidrs)
        if (inside.is_v4() == source.is_v4()) leaves.push_back(nft::not_to(inside));
    for (const uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
      auto match = leaves;
      match.push_back(nft::MatchProtocol{protocol});
      leaving.rules.push_back({std::move(match), nft::Masquerade{kFirstSourcePort, kLastSourcePort}});
    }
    leaving.rules.push_back({std::move(leaves), nft::Masquerade{}});
  }
  return {.family = nft::Family::inet,
          .name = names.table,
          .chains = {std::move(from_pods), std::move(to_nobody), std::move(leaving)}};
}

uint32_t uplink_mtu(const HostView& host) {
  uint32_t least = 0;
  for (const auto& route : host.routes) {
    if (route.destination.prefix() != 0 || route.type != RTN_UNICAST || route.table != RT_TABLE_MAIN) continue;
    const auto link = std::ranges::find(host.links, route.link, &host::Link::index);
    if (link != host.links.end() && link->mtu != 0 && (least == 0 || link->mtu < least)) least = link->mtu;
  }
  return least;
}

}  // namespace keelson::network
