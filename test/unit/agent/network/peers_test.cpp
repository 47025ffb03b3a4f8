#include "agent/network/peers.h"

#include <fmt/core.h>
#include <linux/rtnetlink.h>

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(peers)

using namespace keelson::network;
using keelson::api::Cidr;
using keelson::api::IpAddress;
namespace host = keelson::host;

namespace {

Cidr cidr(const std::string& text) { return Cidr::parse(text).value(); }
IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

HostView node() {
  HostView view;
  view.links = {{.index = 1, .name = "lo"}, {.index = 2, .name = "eth0"}};
  view.addresses = {{.link = 2, .address = ip("192.0.2.10"), .prefix = 24},
                    {.link = 2, .address = ip("fd00:2::10"), .prefix = 64}};
  return view;
}
const Networks kOwn{{cidr("10.244.0.0/24"), cidr("fd00:244::/64")}, {cidr("10.96.0.0/16")}, {}};
Peer peer(const char* name, std::vector<Cidr> cidrs, std::vector<IpAddress> addresses) {
  return {name, std::move(cidrs), std::move(addresses)};
}
PeerRoutes routes(const std::vector<Peer>& peers) { return routes_to(peers, kOwn, node(), Names::of("")); }

std::string text(const std::vector<Cidr>& networks) {
  std::string result;
  for (const auto& one : networks) result += (result.empty() ? "" : " ") + one.to_string();
  return result;
}

}  // namespace

BOOST_AUTO_TEST_CASE(each_family_goes_by_the_peers_address_of_that_family) {
  const auto found =
      routes({peer("node2", {cidr("10.244.1.0/24"), cidr("fd00:244:0:1::/64")}, {ip("192.0.2.11"), ip("fd00:2::11")})});
  BOOST_TEST(found.problems.empty());
  BOOST_REQUIRE(found.wanted.size() == 2u);
  BOOST_TEST((found.wanted[0].gateway == ip("192.0.2.11")));
  BOOST_TEST((found.wanted[1].gateway == ip("fd00:2::11")));
  BOOST_TEST(found.wanted[0].link == 2);
}

BOOST_AUTO_TEST_CASE(a_peer_that_claims_what_is_ours_gets_no_route) {
  BOOST_TEST(routes({peer("evil", {cidr("10.244.0.128/25")}, {ip("192.0.2.11")})}).wanted.empty());
  BOOST_TEST(routes({peer("evil", {cidr("10.96.3.0/24")}, {ip("192.0.2.11")})}).wanted.empty());
  BOOST_TEST(routes({peer("evil", {cidr("192.0.2.0/25")}, {ip("192.0.2.11")})}).wanted.empty());
  BOOST_TEST(
      routes({peer("evil", {cidr("0.0.0.0/0"), cidr("::/0")}, {ip("192.0.2.11"), ip("fd00:2::11")})}).wanted.empty());
  BOOST_TEST(routes({peer("me", {cidr("10.244.7.0/24")}, {ip("192.0.2.10")})}).wanted.empty());
  BOOST_TEST(routes({peer("evil", {cidr("10.244.0.128/25")}, {ip("192.0.2.11")})}).problems.size() == 1u);
}

BOOST_AUTO_TEST_CASE(of_two_peers_with_one_network_the_first_keeps_it) {
  const auto found = routes(
      {peer("a", {cidr("10.244.1.0/24")}, {ip("192.0.2.11")}), peer("b", {cidr("10.244.1.0/24")}, {ip("192.0.2.12")})});
  BOOST_REQUIRE(found.wanted.size() == 1u);
  BOOST_TEST((found.wanted[0].gateway == ip("192.0.2.11")));
  BOOST_TEST(found.problems.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_peer_behind_a_router_is_said_to_be_out_of_reach) {
  const auto found = routes({peer("far", {cidr("10.244.1.0/24")}, {ip("198.51.100.7")})});
  BOOST_TEST(found.wanted.empty());
  BOOST_REQUIRE(found.problems.size() == 1u);
  BOOST_TEST(found.problems[0].find("far") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(routes_that_stand_are_left_alone_and_those_of_nodes_that_went_are_deleted) {
  const auto names = Names::of("");
  const auto wanted = routes({peer("node2", {cidr("10.244.1.0/24")}, {ip("192.0.2.11")})}).wanted;
  auto view = node();
  BOOST_TEST(!plan_peer_routes(wanted, view, names).empty());
  view.routes = wanted;
  BOOST_TEST(plan_peer_routes(wanted, view, names).empty());
  BOOST_TEST(!plan_peer_routes({}, view, names).empty());
  // The node has another address now.
  view.routes[0].gateway = ip("192.0.2.99");
  BOOST_TEST(!plan_peer_routes(wanted, view, names).empty());
  // Of another agent on this host, and somebody else's.
  view.routes[0].metric = Names::of("two").metric;
  BOOST_TEST(plan_peer_routes({}, view, names).empty());
  view.routes[0] = {.destination = cidr("10.1.0.0/16"), .gateway = ip("192.0.2.1"), .link = 2};
  BOOST_TEST(plan_peer_routes({}, view, names).empty());
}

BOOST_AUTO_TEST_CASE(networks_in_a_row_become_one) {
  std::vector<Cidr> row;
  for (int i = 255; i >= 0; --i) row.push_back(cidr(fmt::format("10.244.{}.0/24", i)));
  BOOST_TEST(text(joined(row)) == "10.244.0.0/16");
  row.erase(row.begin() + 128);  // 10.244.127.0/24
  BOOST_TEST(joined(row).size() == 8u);
  BOOST_TEST(text(joined({cidr("fd00:1::/64"), cidr("10.0.1.0/24"), cidr("10.0.0.0/16"), cidr("fd00:1:0:1::/64")})) ==
             "10.0.0.0/16 fd00:1::/63");
  BOOST_TEST(text(joined({cidr("10.0.1.0/24"), cidr("10.0.2.0/24")})) == "10.0.1.0/24 10.0.2.0/24");
  BOOST_TEST(text(joined({cidr("0.0.0.0/1"), cidr("128.0.0.0/1")})) == "0.0.0.0/0");
}

BOOST_AUTO_TEST_CASE(what_goes_to_pods_of_other_nodes_keeps_its_source) {
  const auto leaving_rules = [](const Networks& networks) {
    const auto table = pod_table(networks, Names::of(""));
    return table.chains.back().rules.front().match.size();
  };
  auto with_peers = kOwn;
  with_peers.peers = {cidr("10.244.1.0/24"), cidr("10.244.2.0/24"), cidr("fd00:244:0:1::/64")};
  BOOST_TEST(leaving_rules(with_peers) == leaving_rules(kOwn) + 2);  // of the rule's own family
  const auto table = pod_table(with_peers, Names::of(""));
  BOOST_TEST(host::nft::encode({&table, 1}).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
