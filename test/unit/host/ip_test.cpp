#include "host/ip.h"

#include <sys/socket.h>

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(ip_address_and_cidr)

using keelson::host::Cidr;
using keelson::host::IpAddress;
using keelson::host::parse_cidrs;

namespace {
IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
Cidr cidr(const char* text) { return Cidr::parse(text).value(); }
}  // namespace

BOOST_AUTO_TEST_CASE(an_address_is_written_as_it_is_read) {
  for (const char* text : {"0.0.0.0", "10.1.2.3", "255.255.255.255", "::", "::1", "fd00::10:0:1", "2001:db8::1"})
    BOOST_TEST(ip(text).to_string() == text);
}

BOOST_AUTO_TEST_CASE(what_is_no_address_is_refused) {
  for (const char* text : {"", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1 ", "fe80::1%eth0", "[::1]", "1:2", "a"})
    BOOST_TEST(!IpAddress::parse(text).has_value(), text);
}

BOOST_AUTO_TEST_CASE(a_v4_mapped_address_is_the_ipv4_address) {
  BOOST_CHECK(ip("::ffff:10.0.0.1") == ip("10.0.0.1"));
  BOOST_TEST(ip("::ffff:10.0.0.1").is_v4());
  BOOST_TEST(ip("10.0.0.1").wire().size() == 4u);
  BOOST_TEST(ip("::10.0.0.1").family() == AF_INET6);
  BOOST_CHECK(IpAddress::v4(0x0a000001) == ip("10.0.0.1"));
}

BOOST_AUTO_TEST_CASE(addresses_know_their_scope) {
  BOOST_TEST((ip("127.9.9.9").is_loopback() && ip("::1").is_loopback() && !ip("::2").is_loopback()));
  BOOST_TEST((ip("169.254.1.1").is_link_local() && ip("febf::1").is_link_local() && !ip("fec0::1").is_link_local()));
  BOOST_TEST((ip("0.0.0.0").is_unspecified() && ip("::").is_unspecified() && !ip("::1").is_unspecified()));
  BOOST_TEST((ip("239.0.0.1").is_multicast() && ip("ff02::1").is_multicast() && !ip("10.0.0.1").is_multicast()));
}

BOOST_AUTO_TEST_CASE(ipv4_sorts_in_numeric_order) {
  BOOST_CHECK(ip("9.255.255.255") < ip("10.0.0.0"));
  BOOST_CHECK(ip("10.0.0.9") < ip("10.0.0.10"));
}

BOOST_AUTO_TEST_CASE(a_cidr_clears_the_bits_past_its_prefix) {
  BOOST_TEST(cidr("10.0.0.7/24").to_string() == "10.0.0.0/24");
  BOOST_TEST(cidr("fd00::7:1/112").to_string() == "fd00::7:0/112");
  BOOST_TEST(cidr("10.0.0.7").to_string() == "10.0.0.7/32");
  BOOST_TEST(cidr("10.255.255.255/9").to_string() == "10.128.0.0/9");
  BOOST_TEST(cidr("::ffff:10.0.0.7/120").to_string() == "10.0.0.0/24");
  BOOST_TEST(cidr("::ffff:10.0.0.7/64").to_string() == "::/64");
}

BOOST_AUTO_TEST_CASE(what_is_no_cidr_is_refused) {
  for (const char* text : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/8x", "::/129",
                           "10.0.0.0/8/8", "10.0.0.0/ 8"})
    BOOST_TEST(!Cidr::parse(text).has_value(), text);
}

BOOST_AUTO_TEST_CASE(a_cidr_contains_its_addresses_and_no_other_family) {
  BOOST_TEST(cidr("10.244.0.0/16").contains(ip("10.244.255.255")));
  BOOST_TEST(!cidr("10.244.0.0/16").contains(ip("10.245.0.0")));
  BOOST_TEST(!cidr("::/0").contains(ip("10.0.0.1")));
  BOOST_TEST(!cidr("0.0.0.0/0").contains(ip("fd00::1")));
  BOOST_TEST(cidr("fd00:1::/32").contains(ip("fd00:1:ffff::")));
}

BOOST_AUTO_TEST_CASE(cidrs_overlap_when_one_holds_the_other) {
  BOOST_TEST(cidr("10.0.0.0/8").overlaps(cidr("10.244.0.0/24")));
  BOOST_TEST(cidr("10.244.0.0/24").overlaps(cidr("10.0.0.0/8")));
  BOOST_TEST(!cidr("10.244.0.0/24").overlaps(cidr("10.244.1.0/24")));
  BOOST_TEST(!cidr("::/0").overlaps(cidr("10.244.1.0/24")));
}

BOOST_AUTO_TEST_CASE(addresses_of_a_cidr_are_counted_from_the_network) {
  const auto small = cidr("10.244.0.0/23");
  BOOST_TEST(small.size() == 512u);
  BOOST_TEST(small.at(0)->to_string() == "10.244.0.0");
  BOOST_TEST(small.at(511)->to_string() == "10.244.1.255");
  BOOST_TEST(!small.at(512).has_value());
  BOOST_TEST(*small.index_of(ip("10.244.1.1")) == 257u);
  BOOST_TEST(!small.index_of(ip("10.244.2.0")).has_value());
  BOOST_TEST(small.last().to_string() == "10.244.1.255");
  BOOST_TEST(small.mask().to_string() == "255.255.254.0");

  const auto wide = cidr("fd00::/48");
  BOOST_TEST(wide.size() == UINT64_MAX);
  BOOST_TEST(wide.at(0x10001)->to_string() == "fd00::1:1");
  BOOST_TEST(*wide.index_of(ip("fd00::1:1")) == 0x10001u);
  BOOST_TEST(!wide.index_of(ip("fd00:0:0:1::")).has_value());
  BOOST_TEST(cidr("0.0.0.0/0").size() == uint64_t{1} << 32);
}

BOOST_AUTO_TEST_CASE(a_list_of_cidrs_is_separated_by_commas) {
  const auto list = parse_cidrs("10.244.0.0/24, fd00::/64").value();
  BOOST_TEST_REQUIRE(list.size() == 2u);
  BOOST_TEST(list[1].to_string() == "fd00::/64");
  BOOST_TEST(parse_cidrs("").value().empty());
  BOOST_TEST(!parse_cidrs("10.244.0.0/24,x").has_value());
}

BOOST_AUTO_TEST_SUITE_END()
