#include "agent/network/pod_link.h"

#include <fmt/core.h>
#include <linux/rtnetlink.h>

#include <algorithm>

namespace keelson::network {
namespace {

constexpr const char* kPodInterface = "eth0";
constexpr int kLoopback = 1;
constexpr api::IpAddress kGateway4 = api::IpAddress::v4(0xa9fe0101);  // 169.254.1.1

api::IpAddress gateway6() { return *api::IpAddress::parse("fe80::1"); }
api::IpAddress pod_link_local() { return *api::IpAddress::parse("fe80::2"); }

host::Status create(host::RouteSocket& host_side, const PodLink& link, int network_namespace) {
  host::RouteBatch batch;
  batch.create_veth({.name = link.name,
                     .mac = kHostMac,
                     .peer_name = kPodInterface,
                     .peer_mac = pod_mac(link.uid),
                     .peer_namespace = network_namespace,
                     .mtu = link.mtu});
  return host_side.run(batch);
}

host::Status configure_inside(host::RouteSocket& pod_side, int eth0, const PodLink& link) {
  host::RouteBatch batch;
  batch.set_up(kLoopback);
  batch.disable_ipv6_autoconfiguration(eth0);
  batch.set_up(eth0);
  for (const auto& ip : link.ips) {
    const auto gateway = ip.is_v4() ? kGateway4 : gateway6();
    if (!ip.is_v4()) batch.add_address(eth0, pod_link_local(), 64);
    batch.add_address(eth0, ip, ip.bits());
    // The kernel makes the local route of an IPv6 address from a work queue, sometime after
    // the address (addrconf_dad_work, even with IFA_F_NODAD); until then what comes in for
    // it is lost. Ours does it until then.
    if (!ip.is_v4())
      batch.add_route({.destination = api::Cidr::around(ip, 128),
                       .link = eth0,
                       .table = RT_TABLE_LOCAL,
                       .protocol = kRouteProtocol,
                       .type = RTN_LOCAL});
    batch.add_neighbour(eth0, gateway, kHostMac);
    batch.add_route({.destination = ip.is_v4() ? api::Cidr::around(api::IpAddress::v4(0), 0) : api::Cidr(),
                     .gateway = gateway,
                     .link = eth0,
                     .on_link = true});
  }
  return pod_side.run(batch);
}

host::Status configure_outside(host::RouteSocket& host_side, const PodLink& link) {
  const auto index = host_side.link_index(link.name);
  if (!index) return std::unexpected(index.error());
  host::RouteBatch batch;
  batch.disable_ipv6_autoconfiguration(*index);
  batch.set_up(*index);
  for (const auto& ip : link.ips) {
    // The host's end has the gateway's address, without a network around it: so ICMPv6
    // errors have a source on a host that has no other, and no route leads to the
    // link-local addresses of a pod, whose advertisements thus count as spoofed.
    if (!ip.is_v4()) batch.add_address(*index, gateway6(), 128);
    batch.add_neighbour(*index, ip, pod_mac(link.uid));
    batch.add_route({.destination = api::Cidr::around(ip, ip.bits()), .link = *index, .protocol = kRouteProtocol});
  }
  return host_side.run(batch);
}

}  // namespace

host::Status connect_pod(const PodLink& link, int netlink, int network_namespace) {
  auto host_side = host::RouteSocket::open();
  if (!host_side) return std::unexpected(std::move(host_side.error()));
  auto pod_side = host::RouteSocket::borrow(netlink);
  if (!pod_side) return std::unexpected(std::move(pod_side.error()));

  auto done = create(*host_side, link, network_namespace);
  if (!done && done.error().code == host::Error::Code::exists && !pod_side->link_index(kPodInterface)) {
    // The namespace of an earlier sandbox has not been cleaned up yet; its link still has the name.
    host::RouteBatch stale;
    stale.delete_link(link.name);
    done = host_side->run(stale);
    if (done) done = create(*host_side, link, network_namespace);
  }
  if (!done && done.error().code != host::Error::Code::exists) return done;

  const auto eth0 = pod_side->link_index(kPodInterface);
  done = eth0 ? configure_inside(*pod_side, *eth0, link) : std::unexpected(eth0.error());
  if (done) done = configure_outside(*host_side, link);
  if (done) {
    // Its carrier came with the host's end.
    host::RouteBatch last;
    last.settle(*eth0);
    done = pod_side->run(last);
  }
  if (done) return done;
  host::RouteBatch undo;
  undo.delete_link(link.name);
  if (auto undone = host_side->run(undo); !undone)
    done.error().message += fmt::format(" (and then: {})", undone.error().message);
  return done;
}

host::Status disconnect_pod(const std::string& link_name) {
  auto socket = host::RouteSocket::open();
  if (!socket) return std::unexpected(std::move(socket.error()));
  host::RouteBatch batch;
  batch.delete_link(link_name);
  return socket->run(batch);
}

}  // namespace keelson::network
