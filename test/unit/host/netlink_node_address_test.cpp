#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <boost/test/unit_test.hpp>

#include "host/netlink.h"

BOOST_AUTO_TEST_SUITE(netlink_node_address)

using namespace keelson::host;

namespace {

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
Cidr cidr(const char* text) { return Cidr::parse(text).value(); }

const std::vector<Link> kLinks{{.index = 1, .name = "lo", .flags = IFF_UP | IFF_LOOPBACK},
                               {.index = 2, .name = "eth0", .flags = IFF_UP},
                               {.index = 3, .name = "eth1", .flags = IFF_UP},
                               {.index = 4, .name = "down0"}};

std::string v4(const std::vector<InterfaceAddress>& addresses, const std::vector<Route>& routes) {
  const auto chosen = choose_node_addresses(kLinks, addresses, routes).v4;
  return chosen ? chosen->to_string() : "";
}
std::string v6(const std::vector<InterfaceAddress>& addresses, const std::vector<Route>& routes) {
  const auto chosen = choose_node_addresses(kLinks, addresses, routes).v6;
  return chosen ? chosen->to_string() : "";
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_default_routes_link_has_the_nodes_address) {
  const std::vector<InterfaceAddress> addresses{{.link = 1, .address = ip("127.0.0.1"), .prefix = 8},
                                                {.link = 2, .address = ip("10.1.0.5"), .prefix = 24},
                                                {.link = 3, .address = ip("10.2.0.5"), .prefix = 24}};
  const Route cheap{.destination = cidr("0.0.0.0/0"), .gateway = ip("10.2.0.1"), .link = 3, .metric = 10};
  const Route dear{.destination = cidr("0.0.0.0/0"), .gateway = ip("10.1.0.1"), .link = 2, .metric = 100};
  BOOST_TEST(v4(addresses, {dear, cheap}) == "10.2.0.5");
  BOOST_TEST(v4(addresses, {dear}) == "10.1.0.5");
  BOOST_TEST(v4(addresses, {}) == "10.1.0.5");
  BOOST_TEST(v6(addresses, {dear}) == "");
}

BOOST_AUTO_TEST_CASE(the_routes_preferred_source_wins) {
  const std::vector<InterfaceAddress> addresses{{.link = 2, .address = ip("10.1.0.5"), .prefix = 24},
                                                {.link = 2, .address = ip("10.1.0.6"), .prefix = 24}};
  const Route route{.destination = cidr("0.0.0.0/0"), .link = 2, .source = ip("10.1.0.6")};
  BOOST_TEST(v4(addresses, {route}) == "10.1.0.6");
}

BOOST_AUTO_TEST_CASE(short_lived_and_local_ipv6_addresses_are_passed_over) {
  const Route route{.destination = cidr("::/0"), .gateway = ip("fe80::1"), .link = 2};
  std::vector<InterfaceAddress> addresses{
      {.link = 2, .address = ip("fe80::5"), .prefix = 64, .scope = RT_SCOPE_LINK},
      {.link = 2, .address = ip("fd00::5"), .prefix = 64},
      {.link = 2, .address = ip("2001:db8::aaaa"), .prefix = 64, .flags = IFA_F_TEMPORARY},
      {.link = 2, .address = ip("2001:db8::dddd"), .prefix = 64, .flags = IFA_F_DEPRECATED}};
  BOOST_TEST(v6(addresses, {route}) == "fd00::5");
  addresses.push_back({.link = 2, .address = ip("2001:db8::5"), .prefix = 64});
  BOOST_TEST(v6(addresses, {route}) == "2001:db8::5");
}

BOOST_AUTO_TEST_CASE(unreachable_default_routes_and_links_that_are_down_do_not_count) {
  const std::vector<InterfaceAddress> addresses{{.link = 4, .address = ip("10.4.0.5"), .prefix = 24},
                                                {.link = 3, .address = ip("10.3.0.5"), .prefix = 24}};
  const Route route{.destination = cidr("0.0.0.0/0"), .type = RTN_UNREACHABLE};
  BOOST_TEST(v4(addresses, {route}) == "10.3.0.5");
}

BOOST_AUTO_TEST_SUITE_END()
