#include "agent/network/host_setup.h"

#include <linux/rtnetlink.h>

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(host_setup)

using namespace keelson::network;
using keelson::api::Cidr;
using keelson::api::IpAddress;
namespace host = keelson::host;

namespace {

Cidr cidr(const char* text) { return Cidr::parse(text).value(); }
IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

HostView ordinary_host() {
  HostView view;
  view.links = {{.index = 1, .name = "lo"}, {.index = 2, .name = "eth0", .mtu = 1450}};
  view.addresses = {{.link = 1, .address = ip("127.0.0.1"), .prefix = 8},
                    {.link = 2, .address = ip("192.168.7.5"), .prefix = 24},
                    {.link = 2, .address = ip("fe80::1234"), .prefix = 64}};
  view.routes = {{.destination = cidr("0.0.0.0/0"), .gateway = ip("192.168.7.1"), .link = 2},
                 {.destination = cidr("192.168.7.0/24"), .link = 2, .protocol = RTPROT_KERNEL},
                 {.destination = cidr("ff00::/8"), .link = 2, .table = RT_TABLE_LOCAL, .type = RTN_MULTICAST}};
  return view;
}

std::string refusal(const Networks& networks, const HostView& view) {
  const auto checked = check_networks(networks, view, Names::of(""));
  return checked ? "" : checked.error().message;
}

}  // namespace

BOOST_AUTO_TEST_CASE(networks_of_nobody_are_fine) {
  const Networks both{{cidr("10.244.0.0/24"), cidr("fd00:244::/64")}, {cidr("10.96.0.0/16"), cidr("fd00:96::/112")}};
  BOOST_TEST(refusal(both, ordinary_host()) == "");
}

BOOST_AUTO_TEST_CASE(default_routes_and_their_halves_overlap_nothing) {
  auto view = ordinary_host();
  view.routes.push_back({.destination = cidr("0.0.0.0/1"), .link = 2});
  view.routes.push_back({.destination = cidr("::/0"), .link = 2});
  view.routes.push_back({.destination = cidr("2000::/3"), .link = 2});
  BOOST_TEST(refusal({{cidr("10.244.0.0/24"), cidr("2001:db8::/64")}, {}}, view) == "");
}

BOOST_AUTO_TEST_CASE(every_overlap_is_named_once) {
  auto view = ordinary_host();
  view.routes.push_back({.destination = cidr("10.0.0.0/8"), .gateway = ip("192.168.7.9"), .link = 2});
  const auto text = refusal({{cidr("192.168.0.0/16")}, {cidr("10.96.0.0/16")}}, view);
  BOOST_TEST(text ==
             "the pod CIDR 192.168.0.0/16 overlaps the host's address 192.168.7.5/24 on eth0; the service CIDR "
             "10.96.0.0/16 overlaps the host's route to 10.0.0.0/8 on eth0: choose others with --pod-cidr and "
             "--service-cidr");
}

BOOST_AUTO_TEST_CASE(two_pod_networks_of_one_family_are_refused) {
  BOOST_TEST(
      refusal({{cidr("10.1.0.0/24"), cidr("10.2.0.0/24")}, {}}, ordinary_host()).starts_with("more than one IPv4"));
}

BOOST_AUTO_TEST_CASE(own_routes_are_no_overlap_but_those_of_another_agent_are) {
  const auto ours = Names::of(""), other = Names::of("other");
  auto view = ordinary_host();
  view.links.push_back({.index = 9, .name = ours.link("uid"), .kind = "veth"});
  view.routes.push_back({.destination = cidr("10.244.0.0/24"),
                         .metric = ours.metric,
                         .protocol = kRouteProtocol,
                         .type = RTN_UNREACHABLE});
  view.routes.push_back({.destination = cidr("10.244.0.5/32"), .link = 9, .protocol = kRouteProtocol});
  BOOST_TEST(refusal({{cidr("10.244.0.0/24")}, {}}, view) == "");
  view.routes.push_back({.destination = cidr("10.244.0.0/16"),
                         .metric = other.metric,
                         .protocol = kRouteProtocol,
                         .type = RTN_UNREACHABLE});
  BOOST_TEST(refusal({{cidr("10.244.0.0/24")}, {}}, view).find("another keelson agent") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(nothing_is_planned_when_the_routes_stand) {
  const auto names = Names::of("");
  auto view = ordinary_host();
  const Networks networks{{cidr("10.244.0.0/24")}, {}};
  BOOST_TEST(!plan_unreachable_routes(networks, view, names).empty());
  view.routes.push_back({.destination = cidr("10.244.0.0/24"),
                         .metric = names.metric,
                         .protocol = kRouteProtocol,
                         .type = RTN_UNREACHABLE});
  BOOST_TEST(plan_unreachable_routes(networks, view, names).empty());
  BOOST_TEST(!plan_unreachable_routes({}, view, names).empty());  // to be deleted
}

BOOST_AUTO_TEST_CASE(the_uplinks_mtu_is_the_pods) {
  BOOST_TEST(uplink_mtu(ordinary_host()) == 1450u);
  BOOST_TEST(uplink_mtu({}) == 0u);
}

BOOST_AUTO_TEST_CASE(the_table_of_the_pods_can_be_encoded_for_each_family) {
  for (const auto& pods : {std::vector{cidr("10.244.0.0/24")}, std::vector{cidr("fd00:244::/64")},
                           std::vector{cidr("10.244.0.0/24"), cidr("fd00:244::/64")}}) {
    const auto table = pod_table({pods, {cidr("10.96.0.0/16")}}, Names::of(""));
    BOOST_TEST(table.name == "keelson");
    BOOST_TEST(host::nft::encode({&table, 1}).has_value());
  }
}

BOOST_AUTO_TEST_CASE(names_are_stable_short_and_the_instances_own) {
  const auto one = Names::of(""), two = Names::of("two");
  BOOST_TEST(one.link("0b2ac6f0-6d4e-4f6c-9a5e-2a6a2f2b9c11").size() == 15u);
  BOOST_TEST(one.link("a") == Names::of("").link("a"));
  BOOST_TEST(one.link("a") != one.link("b"));
  BOOST_TEST(one.link("a") != two.link("a"));
  BOOST_TEST(one.link_prefix != two.link_prefix);
  BOOST_TEST(one.metric != two.metric);
  BOOST_TEST(two.table == "keelson-two");
  BOOST_TEST((pod_mac("a").bytes[0] & 3) == 2);  // locally administered, unicast
}

BOOST_AUTO_TEST_SUITE_END()
